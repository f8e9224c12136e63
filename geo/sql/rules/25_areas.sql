-- After an area was drawn, moved, withdrawn or renamed by hand: re-place what lies there, or near, or names it. The first
-- or last area of a level changes on which level everything must be found, so then everything is looked at. A new name
-- that records far away have stated all along is for `jingwei place`: to look for those would mean reading every record.
CREATE OR REPLACE FUNCTION area_settled() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
DECLARE
    reach geometry := ST_Envelope(ST_Collect(OLD.geom, NEW.geom));
    names text[];
BEGIN
    IF TG_OP <> 'UPDATE' OR (OLD.geom, OLD.valid_from, OLD.valid_to, OLD.retired_at, OLD.level, OLD.kind, OLD.theme)
        IS DISTINCT FROM (NEW.geom, NEW.valid_from, NEW.valid_to, NEW.retired_at, NEW.level, NEW.kind, NEW.theme)
    THEN
        IF EXISTS (SELECT FROM unnest(ARRAY[OLD.level, NEW.level]) AS touched (level) WHERE touched.level IS NOT NULL AND
                   (SELECT count(*) FROM (SELECT FROM areas WHERE level = touched.level AND area_holds(areas, now()) LIMIT 2) AS few) < 2)
        THEN
            PERFORM areas_settled(NULL, NULL, NULL);
            RETURN NULL;
        END IF;
        IF reach IS NOT NULL THEN
            PERFORM areas_settled(reach, NULL, NULL);
        END IF;
    END IF;
    names := ARRAY[OLD.name, OLD.code, OLD.path, NEW.name, NEW.code, NEW.path];
    PERFORM claims_settled(names || ARRAY(SELECT regexp_replace(name, '(社区|街道|村)$', '') FROM unnest(names) AS name));
    RETURN NULL;
END
$$;

-- A post answers where its area is.
CREATE OR REPLACE FUNCTION post_scoped() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    NEW.scope := coalesce(NEW.area, '');  -- a post without an area is refused by that name
    RETURN NEW;
END
$$;

-- People who come with a login of their own (QGIS, psql): their scope is looked up by who they are, never by a setting.
CREATE OR REPLACE FUNCTION direct_lo() RETURNS text
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
    SELECT (SELECT path FROM direct_logins WHERE login = session_user)
$$;

CREATE OR REPLACE FUNCTION direct_hi() RETURNS text
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
    SELECT (SELECT path || '~' FROM direct_logins WHERE login = session_user)
$$;

-- What is in an area, for its card and for sums: buildings, homes, people, things. Records located only to a region are
-- no location and are not counted.
CREATE OR REPLACE FUNCTION area_counts(lo text)
RETURNS TABLE (buildings bigint, dwellings bigint, households bigint, residents bigint, non_local bigint,
               facilities bigint, parts bigint, organisations bigint, incidents bigint, open_incidents bigint)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
    SELECT b.n, (SELECT count(*) FROM dwellings AS d WHERE d.scope >= lo AND d.scope < lo || '~' AND d.retired_at IS NULL),
        b.households, b.residents, b.non_local,
        (SELECT count(*) FROM facilities AS f WHERE f.scope >= lo AND f.scope < lo || '~' AND f.retired_at IS NULL
            AND f.precision <> 'region'),
        (SELECT count(*) FROM parts AS p WHERE p.scope >= lo AND p.scope < lo || '~' AND p.retired_at IS NULL
            AND p.precision <> 'region'),
        (SELECT count(*) FROM organisations AS o WHERE o.scope >= lo AND o.scope < lo || '~' AND o.retired_at IS NULL
            AND o.precision <> 'region'),
        i.n, i.open
    FROM (SELECT count(*) AS n, coalesce(sum(s.households), 0) AS households, coalesce(sum(s.residents), 0) AS residents,
              coalesce(sum(s.non_local), 0) AS non_local
          FROM jingwei.buildings AS s WHERE s.scope >= lo AND s.scope < lo || '~' AND s.retired_at IS NULL
            AND s.precision <> 'region') AS b,
         (SELECT count(*) AS n, count(*) FILTER (WHERE state <> 'closed') AS open
          FROM jingwei.incidents AS t WHERE t.scope >= lo AND t.scope < lo || '~' AND t.retired_at IS NULL
            AND t.precision <> 'region') AS i
$$;

-- The first of some levels at which there are areas now: what a map draws in place of a level that nobody has.
CREATE OR REPLACE FUNCTION first_level(levels text[]) RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
    SELECT level FROM unnest(levels) WITH ORDINALITY AS l (level, n)
    WHERE EXISTS (SELECT FROM areas WHERE areas.level = l.level AND area_holds(areas, now()) AND areas.geom IS NOT NULL)
    ORDER BY n LIMIT 1
$$;
