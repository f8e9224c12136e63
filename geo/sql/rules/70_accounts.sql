-- Accounts and appointments: who may give whom what. Each function asks who calls; nobody reads or writes the tables.
--
-- Nobody widens their own rights, by whichever way: no function here gives the caller's own account anything, save that
-- the holder of an appointment may lend it to somebody else for a time.

CREATE OR REPLACE FUNCTION in_office(appointment appointments) RETURNS boolean
LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT appointment.valid_from <= now() AND (appointment.valid_to IS NULL OR appointment.valid_to > now())
$$;

CREATE OR REPLACE FUNCTION areas_of(wanted uuid) RETURNS text[]
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
    SELECT coalesce(array_agg(path ORDER BY path), '{}') FROM appointment_areas WHERE appointment = wanted
$$;

CREATE OR REPLACE FUNCTION caller_account() RETURNS uuid
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
    SELECT CASE WHEN session_user = 'jingwei_web' THEN nullif(current_setting('jingwei.account', true), '')::uuid END
$$;

CREATE OR REPLACE FUNCTION refuse(sentence text) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    RAISE insufficient_privilege USING MESSAGE = sentence;
END
$$;

-- Whether the caller may give a role in some areas. The security administrator gives every role anywhere; a leader those below
-- their own rank inside their own areas. The system administrator gives the other two administrators, while there are none.
CREATE OR REPLACE FUNCTION may_appoint(wanted text, paths text[]) RETURNS boolean
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
    SELECT caller_right() = 'owner' OR EXISTS (
        SELECT FROM roles AS r JOIN roles AS own ON own.code = (caller_appointment()).role
        WHERE r.code = wanted AND CASE own.code
            WHEN 'security_admin' THEN true
            WHEN 'system_admin' THEN r.code IN ('security_admin', 'audit_admin')
                AND NOT EXISTS (SELECT FROM appointments AS a WHERE a.role = r.code AND in_office(a))
            ELSE 'appoint' = ANY (own.may) AND r.rank < own.rank AND NOT r.administrator
                AND paths <> '{}' AND (SELECT bool_and(caller_holds(path)) FROM unnest(paths) AS path) END)
$$;

-- Whether the caller may decide over an account: lock it out, give it a new password. Over an administrator's, only the
-- security administrator; nobody over their own.
CREATE OR REPLACE FUNCTION in_hand(wanted uuid) RETURNS boolean
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
    SELECT caller_right() = 'owner' OR (wanted IS DISTINCT FROM caller_account() AND CASE
        WHEN (caller_appointment()).role = 'security_admin' THEN true
        WHEN EXISTS (SELECT FROM appointments AS a WHERE a.account = wanted AND a.administrator AND in_office(a)) THEN false
        WHEN caller_may('accounts') THEN true
        WHEN caller_may('appoint') THEN
            (EXISTS (SELECT FROM appointments AS a WHERE a.account = wanted)
             OR EXISTS (SELECT FROM accounts AS c WHERE c.id = wanted AND c.made_by = acting()))
            AND NOT EXISTS (SELECT FROM appointments AS a WHERE a.account = wanted AND (a.valid_to IS NULL OR a.valid_to > now())
                            AND NOT may_appoint(a.role, areas_of(a.id)))
        ELSE false END)
$$;

-- Nobody is bound at the door, where everybody changes their own account and no other: that is who acts.
CREATE OR REPLACE FUNCTION account_journalled(account uuid, done text) RETURNS void
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
    SELECT set_config('jingwei.actor', login, true) FROM accounts WHERE id = account AND session_user = 'jingwei_door';
    INSERT INTO changes (actor, acting_as, noun, feature, operation)
    VALUES (acting(), acting_as(), 'accounts', account, done)
$$;

CREATE OR REPLACE FUNCTION account_made(login text, name text, kind text) RETURNS uuid
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
DECLARE
    made uuid;
BEGIN
    IF NOT (caller_may('accounts') OR caller_may('appoint')) THEN
        PERFORM refuse('no right to make accounts');
    END IF;
    INSERT INTO accounts (login, name, kind, made_by) VALUES ($1, $2, $3, acting()) RETURNING id INTO made;
    PERFORM account_journalled(made, 'add');
    RETURN made;
END
$$;

-- Disabled, an account opens no door from this moment on, those already open included.
CREATE OR REPLACE FUNCTION account_disabled(account uuid, disabled boolean) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
BEGIN
    IF NOT in_hand(account) THEN
        PERFORM refuse('no right over this account');
    END IF;
    UPDATE accounts SET disabled_at = CASE WHEN disabled THEN coalesce(disabled_at, now()) END WHERE id = account;
    IF disabled THEN
        UPDATE sessions SET ended_at = now() WHERE sessions.account = $1 AND ended_at IS NULL;
        UPDATE tokens SET ended_at = now() WHERE tokens.account = $1 AND ended_at IS NULL;
    END IF;
    PERFORM account_journalled(account, CASE WHEN disabled THEN 'retire' ELSE 'restore' END);
END
$$;

-- A slip by which the holder sets a password, once. A new one makes the older ones void.
CREATE OR REPLACE FUNCTION slip_made(account uuid, hash bytea, lasting interval) RETURNS timestamptz
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
DECLARE
    ends timestamptz := now() + least(lasting, interval '30 days');
BEGIN
    IF NOT in_hand(account) THEN
        PERFORM refuse('no right over this account');
    END IF;
    UPDATE slips SET used_at = now() WHERE slips.account = $1 AND used_at IS NULL;
    INSERT INTO slips (hash, account, made_by, ends_at) VALUES ($2, $1, acting(), ends);
    PERFORM account_journalled(account, 'change');
    RETURN ends;
END
$$;

-- The subject at the place's identity provider by which the holder comes in; without one, none.
CREATE OR REPLACE FUNCTION account_bound(account uuid, subject text) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
BEGIN
    IF NOT in_hand(account) THEN
        PERFORM refuse('no right over this account');
    END IF;
    UPDATE accounts SET subject = nullif($2, '') WHERE id = account;
    PERFORM account_journalled(account, 'change');
END
$$;

-- Whoever could make a slip for an account, or bind a subject to it, holds a key to it. With an administrator's rights it gets
-- new locks: all ways in are void, and only the security administrator gives one. Not for the first of them, whom the
-- system administrator brings in.
CREATE OR REPLACE FUNCTION locks_changed(of_account uuid) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
BEGIN
    IF caller_right() = 'owner' OR (caller_appointment()).role = 'system_admin' THEN
        RETURN;
    END IF;
    UPDATE accounts SET password_hash = NULL, totp_cipher = NULL, totp_at = NULL, subject = NULL WHERE id = of_account;
    UPDATE slips SET used_at = now() WHERE account = of_account AND used_at IS NULL;
    UPDATE sessions SET ended_at = now() WHERE account = of_account AND ended_at IS NULL;
END
$$;

CREATE OR REPLACE FUNCTION appointed(
    account uuid, role text, areas text[], categories text[], since timestamptz, until timestamptz, lent uuid
) RETURNS uuid
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
DECLARE
    made uuid;
    kind roles;
    lending appointments;
    begins timestamptz := coalesce(since, now());
BEGIN
    SELECT * INTO kind FROM roles WHERE code = $2;
    IF account IS NOT DISTINCT FROM caller_account() THEN
        PERFORM refuse('nobody appoints themselves');
    END IF;
    IF lent IS NOT NULL THEN
        SELECT * INTO lending FROM appointments WHERE id = lent AND stands_in_for IS NULL AND appointments.role = $2 AND in_office(appointments);
        IF NOT FOUND OR NOT areas_of(lent) @> areas OR NOT lending.categories @> $4 OR until > coalesce(lending.valid_to, 'infinity') THEN
            PERFORM refuse('an appointment is lent as it is held, or less of it');
        END IF;
    END IF;
    -- An administrator's is lent by who acts as it, and so has given the second factor.
    IF NOT (may_appoint($2, areas) OR lent IS NOT NULL AND lending.account IS NOT DISTINCT FROM caller_account()
            AND (NOT lending.administrator OR (caller_appointment()).id IS NOT DISTINCT FROM lent)) THEN
        PERFORM refuse('no right to give this role here');
    END IF;
    IF (kind.right IN ('public', 'own')) <> (areas = '{}') OR cardinality(areas) > 8 OR ('organisation' = kind.right) <> (categories <> '{}') THEN
        RAISE check_violation USING MESSAGE = 'a role that works somewhere needs areas, a department needs categories, and no other has any',
            CONSTRAINT = 'appointments_areas_check', TABLE = 'appointments', COLUMN = 'areas';
    END IF;
    INSERT INTO appointments (account, role, administrator, categories, valid_from, valid_to, stands_in_for, made_by)
    VALUES (account, $2, coalesce(kind.administrator, false), $4, begins, until, lent, acting()) RETURNING id INTO made;
    INSERT INTO appointment_areas (appointment, path) SELECT DISTINCT made, path FROM unnest(areas) AS path;
    IF kind.administrator THEN
        PERFORM locks_changed(account);
    END IF;
    PERFORM account_journalled(account, 'change');
    RETURN made;
END
$$;

-- An end from now on. Whoever lent it, or holds it, may end it too: nobody is kept in office.
CREATE OR REPLACE FUNCTION appointment_ended(wanted uuid) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
DECLARE
    ending appointments;
BEGIN
    SELECT * INTO ending FROM appointments WHERE id = wanted FOR UPDATE;
    -- Distinct, not equal: of an anonymous caller the account is NULL, and NOT NULL refuses nothing.
    IF NOT FOUND OR NOT (may_appoint(ending.role, areas_of(wanted)) OR ending.account IS NOT DISTINCT FROM caller_account()
        OR EXISTS (SELECT FROM appointments AS lent WHERE lent.id = ending.stands_in_for AND lent.account = caller_account())) THEN
        PERFORM refuse('no right over this appointment');
    END IF;
    UPDATE appointments SET valid_to = greatest(now(), valid_from)
    WHERE (id = wanted OR stands_in_for = wanted) AND (valid_to IS NULL OR valid_to > now());
    PERFORM account_journalled(ending.account, 'change');
END
$$;

-- On leave: all that one account is appointed to goes to another from a moment on, or nothing does. Returns how many.
CREATE OR REPLACE FUNCTION handed_over(giver uuid, taker uuid, at timestamptz) RETURNS integer
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
DECLARE
    held appointments;
    made uuid;
    moment timestamptz := greatest(coalesce(at, now()), now());
    done integer := 0;
BEGIN
    IF taker IS NOT DISTINCT FROM caller_account() OR taker = giver THEN
        PERFORM refuse('nobody appoints themselves');
    END IF;
    FOR held IN SELECT * FROM appointments WHERE account = giver AND stands_in_for IS NULL
                AND (valid_to IS NULL OR valid_to > moment) ORDER BY id FOR UPDATE LOOP
        IF NOT may_appoint(held.role, areas_of(held.id)) THEN
            PERFORM refuse('no right to give this role here');
        END IF;
        UPDATE appointments SET valid_to = greatest(moment, valid_from) WHERE id = held.id OR (stands_in_for = held.id AND valid_to > moment);
        INSERT INTO appointments (account, role, administrator, categories, valid_from, valid_to, made_by)
        VALUES (taker, held.role, held.administrator, held.categories, greatest(moment, held.valid_from), held.valid_to, acting())
        RETURNING id INTO made;
        INSERT INTO appointment_areas SELECT made, path FROM appointment_areas WHERE appointment = held.id;
        INSERT INTO appointment_bodies SELECT made, organisation FROM appointment_bodies WHERE appointment = held.id;
        IF held.administrator THEN
            PERFORM locks_changed(taker);
        END IF;
        done := done + 1;
    END LOOP;
    PERFORM account_journalled(giver, 'change'), account_journalled(taker, 'change');
    RETURN done;
END
$$;

-- The body that an appointment stands for, or none: cases that are given to it are its holder's. For who may give the appointment.
CREATE OR REPLACE FUNCTION appointment_embodied(wanted uuid, body uuid) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
DECLARE
    held appointments;
BEGIN
    SELECT * INTO held FROM appointments WHERE id = wanted FOR UPDATE;
    IF NOT FOUND OR NOT may_appoint(held.role, areas_of(wanted)) OR held.account IS NOT DISTINCT FROM caller_account() THEN
        PERFORM refuse('no right over this appointment');
    ELSIF NOT EXISTS (SELECT FROM roles WHERE code = held.role AND "right" = 'organisation') THEN
        RAISE check_violation USING MESSAGE = 'of departments only', CONSTRAINT = 'appointment_bodies_role_check', TABLE = 'appointment_bodies';
    END IF;
    DELETE FROM appointment_bodies WHERE appointment = wanted;
    INSERT INTO appointment_bodies (appointment, organisation) SELECT wanted, body WHERE body IS NOT NULL;
    PERFORM account_journalled(held.account, 'change');
END
$$;

-- The roles that the caller may give in areas of their own.
CREATE OR REPLACE FUNCTION roles_offered() RETURNS SETOF text
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
    SELECT r.code FROM roles AS r
    WHERE r.code <> 'public' AND may_appoint(r.code, CASE WHEN r.right IN ('public', 'own') THEN '{}' ELSE areas_of((caller_appointment()).id) END)
    ORDER BY r.rank, r.code
$$;

-- The account of a colleague, for who holds an office and names them in full: to stand in, or to take over.
CREATE OR REPLACE FUNCTION account_named(wanted text) RETURNS uuid
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
    SELECT c.id FROM accounts AS c
    WHERE c.login = lower(btrim(wanted)) AND c.kind = 'person' AND c.disabled_at IS NULL
      AND (caller_right() = 'owner' OR EXISTS (SELECT FROM roles AS r WHERE r.code = (caller_appointment()).role AND r.rank > 0))
$$;

-- The accounts that the caller may decide over, or has made, with what each is appointed to; of a leader, those inside their areas.
-- Of those, the ones asked for, a page at a time: what is told of each costs some milliseconds, and a district has ten thousand.
DROP FUNCTION IF EXISTS accounts_told();
CREATE OR REPLACE FUNCTION accounts_told(
    wanted uuid, logins text[], words text, of_role text, within text, standing text, most integer, skipped integer
) RETURNS TABLE (
    id uuid, login text, name text, kind text, made_by text, made_at timestamptz, seen_at timestamptz, disabled boolean, locked boolean,
    password boolean, totp boolean, in_hand boolean, appointments jsonb, total bigint
)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
    -- Whether a path is theirs is asked once for each path, not for each appointment: OFFSET keeps it from being asked inside.
    WITH here AS MATERIALIZED (
        SELECT path FROM (
            SELECT DISTINCT path FROM appointment_areas
            WHERE path >= current_setting('jingwei.lo', true) AND path < current_setting('jingwei.hi', true) OFFSET 0) AS held
        WHERE caller_holds(path)
    ), lasting AS MATERIALIZED (
        SELECT a.account, a.role, held.path FROM appointments AS a LEFT JOIN appointment_areas AS held ON held.appointment = a.id
        WHERE a.valid_to IS NULL OR a.valid_to > now()
    ), shown AS MATERIALIZED (
        SELECT c.*, count(*) OVER () AS total FROM accounts AS c
        WHERE ((SELECT caller_right() = 'owner' OR caller_may('accounts') OR (caller_appointment()).role = 'security_admin')
               OR ((SELECT caller_may('appoint')) AND (c.made_by = (SELECT acting()) OR c.id IN (
                    SELECT a.account FROM appointments AS a JOIN appointment_areas AS held ON held.appointment = a.id JOIN here USING (path)))))
          AND (wanted IS NULL OR c.id = wanted) AND (logins IS NULL OR c.login = ANY (logins))
          AND (words = '' OR position(lower(words) IN c.login || ' ' || lower(c.name)) > 0)
          AND (of_role = '' OR c.id IN (SELECT l.account FROM lasting AS l WHERE l.role = of_role))
          AND (within = '' OR c.id IN (SELECT l.account FROM lasting AS l WHERE l.path ^@ within))
          AND CASE standing
              WHEN 'open' THEN c.disabled_at IS NULL
              WHEN 'disabled' THEN c.disabled_at IS NOT NULL
              WHEN 'locked' THEN coalesce(c.locked_until > now(), false)
              WHEN 'waiting' THEN c.password_hash IS NULL AND c.kind = 'person' AND c.disabled_at IS NULL
              WHEN 'idle' THEN c.disabled_at IS NULL AND c.id NOT IN (SELECT l.account FROM lasting AS l)
              ELSE true END
        ORDER BY c.login LIMIT most OFFSET skipped
    )
    SELECT c.id, c.login, c.name, c.kind, c.made_by, c.made_at, c.seen_at, c.disabled_at IS NOT NULL, coalesce(c.locked_until > now(), false),
        c.password_hash IS NOT NULL, c.totp_at IS NOT NULL, in_hand(c.id), coalesce((
            SELECT jsonb_agg(jsonb_build_object(
                'id', a.id, 'role', a.role, 'title', r.title, 'areas', areas_of(a.id),
                'names', ARRAY(SELECT coalesce(area_title(path), path) FROM unnest(areas_of(a.id)) AS path),
                'categories', a.categories, 'body', (SELECT o.name FROM appointment_bodies AS b JOIN organisations AS o ON o.id = b.organisation WHERE b.appointment = a.id),
                'from', a.valid_from, 'to', a.valid_to, 'stands_in_for', a.stands_in_for,
                'current', in_office(a)) ORDER BY a.valid_from DESC, a.id)
            FROM appointments AS a JOIN roles AS r ON r.code = a.role WHERE a.account = c.id), '[]'), c.total
    FROM shown AS c
    ORDER BY c.login
$$;

-- What the caller is appointed to now or will be, and what they have lent of it.
CREATE OR REPLACE FUNCTION appointments_told() RETURNS TABLE (
    id uuid, role text, areas text[], names text[], categories text[], since timestamptz, until timestamptz, current boolean,
    mine boolean, stands_in boolean, other_login text, other_name text
)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
    SELECT a.id, a.role, areas_of(a.id), ARRAY(SELECT coalesce(area_title(path), path) FROM unnest(areas_of(a.id)) AS path), a.categories,
        a.valid_from, a.valid_to, in_office(a), a.account = caller_account(), a.stands_in_for IS NOT NULL, other.login, other.name
    FROM appointments AS a LEFT JOIN appointments AS lent ON lent.id = a.stands_in_for
    LEFT JOIN accounts AS other ON other.id = CASE WHEN a.account = caller_account() THEN lent.account ELSE a.account END
    WHERE caller_account() IN (a.account, lent.account) AND (a.valid_to IS NULL OR a.valid_to > now())
    ORDER BY a.valid_from, a.id
$$;

-- The open sessions of the caller, or of an account in their hand.
DROP FUNCTION IF EXISTS sessions_told();
CREATE OR REPLACE FUNCTION sessions_told(of_account uuid)
RETURNS TABLE (id uuid, opened_at timestamptz, seen_at timestamptz, ends_at timestamptz, origin text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
    SELECT s.id, s.opened_at, s.seen_at, s.ends_at, s.origin FROM sessions AS s
    WHERE s.account = of_account AND (of_account = caller_account() OR in_hand(of_account))
      AND s.ended_at IS NULL AND s.ends_at > now() AND s.seen_at + s.idle > now()
    ORDER BY s.opened_at DESC
$$;

-- All sessions of an account in hand, at once. Returns how many.
CREATE OR REPLACE FUNCTION sessions_ended(of_account uuid) RETURNS integer
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
DECLARE
    ended integer;
BEGIN
    IF NOT in_hand(of_account) THEN
        PERFORM refuse('no right over this account');
    END IF;
    UPDATE sessions SET ended_at = now() WHERE account = of_account AND ended_at IS NULL AND ends_at > now();
    GET DIAGNOSTICS ended = ROW_COUNT;
    PERFORM account_journalled(of_account, 'change');
    RETURN ended;
END
$$;

CREATE OR REPLACE FUNCTION session_ended(wanted uuid) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
DECLARE
    of_account uuid := (SELECT account FROM sessions WHERE id = wanted AND ended_at IS NULL);
BEGIN
    IF of_account IS NULL OR NOT (of_account IS NOT DISTINCT FROM caller_account() OR in_hand(of_account)) THEN
        RAISE no_data_found USING MESSAGE = 'no such session';
    END IF;
    UPDATE sessions SET ended_at = now() WHERE id = wanted;
    PERFORM account_journalled(of_account, 'change');
END
$$;

-- A token of one's own appointment, or of a system's account in hand. It opens what the appointment does, and no longer.
CREATE OR REPLACE FUNCTION token_made(wanted uuid, hash bytea, title text, lasting interval) RETURNS uuid
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
DECLARE
    holder uuid;
    made uuid;
BEGIN
    SELECT a.account INTO holder FROM appointments AS a JOIN accounts AS c ON c.id = a.account
    WHERE a.id = wanted AND in_office(a) AND NOT a.administrator
      AND (a.account = caller_account() OR caller_right() = 'owner' OR (c.kind = 'system' AND in_hand(c.id)));
    IF holder IS NULL THEN
        PERFORM refuse('no right to make a token of this appointment');
    END IF;
    INSERT INTO tokens (hash, account, appointment, title, made_by, ends_at)
    VALUES ($2, holder, wanted, $3, acting(), now() + least(lasting, interval '366 days')) RETURNING id INTO made;
    PERFORM account_journalled(holder, 'change');
    RETURN made;
END
$$;

CREATE OR REPLACE FUNCTION token_ended(wanted uuid) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
DECLARE
    holder uuid := (SELECT account FROM tokens WHERE id = wanted AND ended_at IS NULL);
BEGIN
    IF holder IS NULL OR NOT (holder IS NOT DISTINCT FROM caller_account() OR in_hand(holder)) THEN
        RAISE no_data_found USING MESSAGE = 'no such token';
    END IF;
    UPDATE tokens SET ended_at = now() WHERE id = wanted;
    PERFORM account_journalled(holder, 'change');
END
$$;

CREATE OR REPLACE FUNCTION tokens_told() RETURNS TABLE (
    id uuid, title text, login text, role text, made_at timestamptz, made_by text, ends_at timestamptz, used_at timestamptz
)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
    SELECT t.id, t.title, c.login, a.role, t.made_at, t.made_by, t.ends_at, t.used_at
    FROM tokens AS t JOIN accounts AS c ON c.id = t.account JOIN appointments AS a ON a.id = t.appointment
    WHERE t.ended_at IS NULL AND t.ends_at > now() AND (t.account = caller_account() OR in_hand(t.account))
    ORDER BY t.made_at DESC
$$;
