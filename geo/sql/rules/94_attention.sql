-- How much attention areas ask for, and by which facts: for who answers for them alone. It is never public, so that nobody reads off
-- a map where it is better not to live. What counts is work and ground; of persons nothing but how many homes nobody answers for.

-- The areas that who works there answers for, none of them inside another.
CREATE OR REPLACE FUNCTION scopes_held() RETURNS SETOF text
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
    WITH held AS (
        SELECT DISTINCT lo COLLATE "C" AS lo FROM unnest(string_to_array(current_setting('jingwei.scopes', true), ',')) AS lo
        WHERE caller_right() IN ('area', 'leader')
    )
    SELECT h.lo FROM held AS h WHERE NOT EXISTS (SELECT FROM held AS o WHERE o.lo <> h.lo AND h.lo LIKE o.lo || '%')
$$;

-- The grids that the caller answers for, and whether anything was heard of each in the last day: found on patrol, or done with a case.
CREATE OR REPLACE FUNCTION grids_quiet() RETURNS TABLE (area uuid, path text, name text, quiet boolean)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = jingwei, public, pg_temp SET jit = off AS $$
    WITH heard AS MATERIALIZED (
        SELECT left(i.scope, 15) COLLATE "C" AS path FROM incidents AS i
        WHERE i.reported_at > now() - interval '1 day' AND i.channel = 'patrol' AND i.retired_at IS NULL AND length(i.scope) >= 15
        UNION
        SELECT left(l.scope, 15) COLLATE "C" FROM incident_log AS l
        WHERE l.at > now() - interval '1 day' AND length(l.scope) >= 15 AND l.acting_as LIKE 'grid\_%'
    )
    SELECT a.id, a.path, a.name, h.path IS NULL FROM areas AS a LEFT JOIN heard AS h ON h.path = a.path
    WHERE a.level = 'grid' AND area_holds(a, now()) AND caller_right() IN ('area', 'leader') AND caller_holds(a.path)
$$;

-- Homes that nobody answers for: of a grid without leader and worker all, and of what is in no grid, under the area it is in. What lies
-- in an area and in none of its parts is the sum of the area less those of its parts.
CREATE OR REPLACE FUNCTION homes_unowned() RETURNS TABLE (path text, households bigint)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = jingwei, public, pg_temp SET jit = off AS $$
    WITH scopes AS MATERIALIZED (
        SELECT lo FROM scopes_held() AS lo
    ), known AS (
        SELECT t.path, t.value FROM scopes JOIN tallies AS t ON t.path >= scopes.lo AND t.path < scopes.lo || '~'
        WHERE t.noun = 'buildings' AND t.quantity = 'households' AND length(t.path) <= 15
        UNION ALL
        SELECT left(c.scope, width) COLLATE "C", c.value FROM scopes JOIN tally_changes AS c ON c.scope >= scopes.lo AND c.scope < scopes.lo || '~'
        CROSS JOIN unnest(ARRAY[9, 12, 15]) AS width
        WHERE c.noun = 'buildings' AND c.quantity = 'households' AND width <= length(c.scope) AND width >= length(scopes.lo)
    ), summed AS MATERIALIZED (
        SELECT k.path, sum(k.value)::bigint AS households FROM known AS k GROUP BY 1
    ), apart AS (
        SELECT s.path, s.households FROM summed AS s WHERE length(s.path) < 15
        UNION ALL SELECT left(s.path, 12) COLLATE "C", -s.households FROM summed AS s WHERE length(s.path) = 15
        UNION ALL SELECT left(s.path, 9) COLLATE "C", -s.households FROM summed AS s WHERE length(s.path) = 12
    )
    SELECT a.path, sum(a.households)::bigint FROM apart AS a
    WHERE length(a.path) IN (9, 12) AND caller_holds(a.path) GROUP BY 1 HAVING sum(a.households) > 0
    UNION ALL
    SELECT s.path, s.households FROM summed AS s
    WHERE length(s.path) = 15 AND s.households > 0 AND NOT EXISTS (
        SELECT FROM posts AS p WHERE p.area = s.path AND p.role IN ('grid_leader', 'grid_worker') AND p.unit IS NULL AND p.retired_at IS NULL
          AND (p.starts_at IS NULL OR p.starts_at <= now()) AND (p.ends_at IS NULL OR p.ends_at > now()))
$$;

-- Those of them that are in no grid, with a place to look: the house with the most of them.
CREATE OR REPLACE FUNCTION homes_apart() RETURNS TABLE (path text, households bigint, spot geometry)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = jingwei, public, pg_temp SET jit = off AS $$
    SELECT u.path, u.households, (SELECT ST_PointOnSurface(b.geom) FROM buildings AS b
        WHERE b.scope = u.path AND b.retired_at IS NULL AND b.precision <> 'region' ORDER BY b.households DESC NULLS LAST, b.id LIMIT 1)
    FROM homes_unowned() AS u WHERE length(u.path) < 15
$$;

-- Of every area of a level that the caller answers for: what counts towards its grade.
CREATE OR REPLACE FUNCTION attention_facts(of_level text)
RETURNS TABLE (area uuid, path text, factor text, value bigint)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = jingwei, public, pg_temp SET jit = off AS $$
    WITH held AS MATERIALIZED (
        SELECT a.id, a.path FROM areas AS a
        WHERE a.level = of_level AND area_holds(a, now()) AND caller_right() IN ('area', 'leader') AND caller_holds(a.path)
    ), scopes AS MATERIALIZED (
        SELECT lo FROM scopes_held() AS lo
    ), cases AS (
        SELECT left(i.scope, path_width(of_level)) COLLATE "C" AS path,
            count(*) FILTER (WHERE i.due_at < now() AND i.state <> 'closed') AS late,
            count(*) FILTER (WHERE (i.urgent OR i.supervised OR i.grade = 'major') AND i.state <> 'closed') AS pressing,
            count(*) FILTER (WHERE i.state IN ('reported', 'verifying') AND i.reported_at < now() - interval '2 hours') AS waiting
        FROM scopes JOIN incidents AS i ON i.scope COLLATE "C" >= scopes.lo AND i.scope COLLATE "C" < scopes.lo || '~'
        WHERE i.retired_at IS NULL AND i.state NOT IN ('feedback', 'rejected', 'cancelled', 'merged') AND NOT (i.state = 'closed' AND i.steps IS NULL)
          AND NOT i.exercise AND i.precision <> 'region' GROUP BY 1
    ), matters AS (
        SELECT left(i.scope, path_width(of_level)) COLLATE "C" AS path, i.matter, count(*) AS number
        FROM incidents AS i WHERE i.reported_at > now() - interval '30 days' AND i.retired_at IS NULL AND i.matter IS NOT NULL AND NOT i.exercise
          AND i.state NOT IN ('rejected', 'cancelled', 'merged') AND i.precision <> 'region' AND caller_right() IN ('area', 'leader') GROUP BY 1, 2
    ), measured AS (
        SELECT s.area, count(*) AS zones, count(*) FILTER (WHERE z.planned_end < now()) AS zones_due
        FROM zones AS z JOIN area_shares AS s ON s.noun = 'zones' AND s.feature = z.id
        WHERE z.state = 'active' AND z.retired_at IS NULL AND z.starts_at <= now() AND NOT z.exercise GROUP BY 1
    ), grids AS (
        SELECT left(g.path, path_width(of_level)) COLLATE "C" AS path, count(*) FILTER (WHERE g.quiet) AS silent FROM grids_quiet() AS g GROUP BY 1
    ), homes AS (
        SELECT left(u.path, path_width(of_level)) COLLATE "C" AS path, sum(u.households)::bigint AS unowned FROM homes_unowned() AS u GROUP BY 1
    )
    SELECT held.id, held.path, f.factor, f.value
    FROM held LEFT JOIN cases AS c ON c.path = held.path
        LEFT JOIN (SELECT m.path, max(m.number) AS number FROM matters AS m GROUP BY 1) AS r ON r.path = held.path
        LEFT JOIN measured AS z ON z.area = held.id LEFT JOIN grids AS g ON g.path = held.path LEFT JOIN homes AS h ON h.path = held.path
        CROSS JOIN LATERAL (VALUES ('late', c.late), ('pressing', c.pressing), ('waiting', c.waiting), ('repeated', r.number),
            ('zones', z.zones), ('zones_due', z.zones_due), ('unowned', h.unowned), ('silent', g.silent)) AS f (factor, value)
    WHERE f.value > 0
$$;

-- The grade of every area of a level, with each fact that counts and the threshold that it reaches.
CREATE OR REPLACE FUNCTION attention_told(of_level text, of_path text)
RETURNS TABLE (area uuid, path text, grade smallint, reasons jsonb)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = jingwei, public, pg_temp SET jit = off AS $$
    SELECT f.area, f.path, max(coalesce(reached.grade, 0))::smallint,
        jsonb_agg(jsonb_build_object('factor', f.factor, 'value', f.value, 'grade', coalesce(reached.grade, 0), 'at_least', reached.at_least,
            'version', reached.version) ORDER BY coalesce(reached.grade, 0) DESC, f.factor)
    FROM attention_facts(of_level) AS f LEFT JOIN LATERAL (
        SELECT s.grade, s.at_least, s.version FROM attention_steps AS s
        WHERE s.factor = f.factor AND s.level = of_level AND s.at_least <= f.value ORDER BY s.grade DESC LIMIT 1) AS reached ON true
    WHERE of_path IS NULL OR f.path = of_path
    GROUP BY f.area, f.path
$$;

-- The areas without a leader and a worker, of a level: which areas there are, and whether somebody answers, everybody may know.
CREATE OR REPLACE FUNCTION areas_unowned(of_level text) RETURNS TABLE (area uuid)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = jingwei, public, pg_temp SET jit = off AS $$
    SELECT a.id FROM areas AS a
    WHERE a.level = of_level AND area_holds(a, now()) AND caller_right() IN ('area', 'leader', 'partner', 'organisation') AND caller_holds(a.path)
      AND NOT EXISTS (
        SELECT FROM posts AS p WHERE p.area = a.path AND p.unit IS NULL AND p.retired_at IS NULL
          AND p.role IN ('street_leader', 'community_leader', 'grid_leader', 'grid_worker')
          AND (p.starts_at IS NULL OR p.starts_at <= now()) AND (p.ends_at IS NULL OR p.ends_at > now()))
$$;

-- How far it is from the middle of an area to the nearest that is open, of each service that is farther than it should be.
CREATE OR REPLACE FUNCTION services_far(of_level text, of_path text) RETURNS TABLE (area uuid, service text, metres integer, at_most integer)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = jingwei, public, pg_temp SET jit = off AS $$
    SELECT a.id, r.service, near.metres, r.metres
    FROM areas AS a CROSS JOIN siting_rules AS r LEFT JOIN LATERAL (
        SELECT round(ST_Distance(f.geom::geography, a.label_point::geography))::integer AS metres FROM facilities AS f
        WHERE f.kind = ANY (r.kinds) AND f.retired_at IS NULL AND f.precision <> 'region' AND f.status IN ('open', 'standby')
        ORDER BY f.geom <-> a.label_point LIMIT 1) AS near ON true
    WHERE a.level = of_level AND (of_path IS NULL OR a.path = of_path) AND area_holds(a, now()) AND a.label_point IS NOT NULL
      AND caller_right() IN ('area', 'leader', 'partner', 'organisation') AND caller_holds(a.path)
      AND (near.metres IS NULL OR near.metres > r.metres)
$$;
