-- Who asks, for functions that answer as definer: they see everything, and so must ask themselves.
--
-- The web server binds the caller to each transaction by settings, and only it has that login. Whoever comes with a login of
-- their own (QGIS, psql) is looked up by it: a setting is theirs to change. The owner's own tools are bound by nothing.
-- A login that has ended sees nothing from that moment on, in connections that are open too: VALID UNTIL is asked at the
-- door only.

CREATE OR REPLACE FUNCTION direct_lo() RETURNS text
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
    SELECT (SELECT path FROM direct_logins WHERE login = session_user AND (ends_at IS NULL OR ends_at > now()))
$$;

CREATE OR REPLACE FUNCTION direct_hi() RETURNS text
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
    SELECT (SELECT path || '~' FROM direct_logins WHERE login = session_user AND (ends_at IS NULL OR ends_at > now()))
$$;

-- The right by which the caller sees: that of the role the web server took, of a direct login, or of the owner's tools.
CREATE OR REPLACE FUNCTION caller_right() RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
    SELECT CASE
        WHEN session_user IN ('jingwei_web', 'jingwei_door', 'jingwei_trail') THEN
            coalesce(substring(current_setting('role') FROM '^jingwei_(public|own|partner|area|leader|organisation)(?:_several)?$'), 'none')
        WHEN EXISTS (SELECT FROM direct_logins WHERE login = session_user) THEN 'direct'
        WHEN session_user = 'jingwei_loader' OR pg_has_role(session_user, 'jingwei_owner', 'MEMBER') THEN 'owner'
        ELSE 'none' END
$$;

-- Whether a path lies in one of the areas that the caller answers for.
CREATE OR REPLACE FUNCTION scopes_hold(path text) RETURNS boolean
LANGUAGE sql STABLE PARALLEL SAFE SET search_path = jingwei, public, pg_temp AS $$
    SELECT EXISTS (
        SELECT FROM unnest(string_to_array(current_setting('jingwei.scopes', true), ',')) AS held (lo)
        WHERE path COLLATE "C" >= held.lo AND path COLLATE "C" < held.lo || '~')
$$;

-- Whether the caller answers for a path. The public answers for none: what it may know is told without asking this.
CREATE OR REPLACE FUNCTION caller_holds(path text) RETURNS boolean
LANGUAGE sql STABLE PARALLEL SAFE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
    SELECT CASE caller_right()
        WHEN 'owner' THEN true
        WHEN 'direct' THEN path COLLATE "C" >= direct_lo() AND path COLLATE "C" < direct_hi()
        WHEN 'partner' THEN scopes_hold(path)
        WHEN 'area' THEN scopes_hold(path)
        WHEN 'leader' THEN scopes_hold(path)
        WHEN 'organisation' THEN scopes_hold(path)
        ELSE false END
$$;

-- What of a noun touches the areas that the caller answers for, wholly inside or not: a zone over two grids is the
-- business of both. For the policies of what lies in several areas.
CREATE OR REPLACE FUNCTION features_here(of_noun text) RETURNS SETOF uuid
LANGUAGE sql STABLE SECURITY DEFINER ROWS 1000 SET search_path = jingwei, public, pg_temp AS $$
    SELECT s.feature FROM area_shares AS s
    WHERE s.noun = of_noun
      AND s.path >= CASE caller_right() WHEN 'direct' THEN direct_lo() ELSE current_setting('jingwei.lo', true) END
      AND s.path < CASE caller_right() WHEN 'direct' THEN direct_hi() ELSE current_setting('jingwei.hi', true) END
      AND caller_holds(s.path)
$$;

-- The appointment by which the caller acts, as the database itself has it now: an appointment that has ended since the request
-- was bound, or was never there, gives nothing.
CREATE OR REPLACE FUNCTION caller_appointment() RETURNS appointments
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
    SELECT a FROM appointments AS a
    WHERE session_user = 'jingwei_web' AND a.id = nullif(current_setting('jingwei.appointment', true), '')::uuid
      AND a.account = nullif(current_setting('jingwei.account', true), '')::uuid
      AND a.valid_from <= now() AND (a.valid_to IS NULL OR a.valid_to > now())
$$;

-- Whether the caller has an ability, by their role.
CREATE OR REPLACE FUNCTION caller_may(ability text) RETURNS boolean
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
    SELECT caller_right() = 'owner'
        OR EXISTS (SELECT FROM roles WHERE code = (caller_appointment()).role AND ability = ANY (may))
$$;
