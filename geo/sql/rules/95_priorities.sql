-- What whoever answers for an area should look at first, as candidates: which five are shown is decided by geo/attention.py. Every one
-- has a place, a number and a moment; why it is here is its kind.

CREATE OR REPLACE FUNCTION priorities_told()
RETURNS TABLE (concern text, number bigint, at timestamptz, feature uuid, title text, path text, lon double precision, lat double precision)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = jingwei, public, pg_temp SET jit = off AS $$
    WITH scopes AS MATERIALIZED (
        SELECT lo FROM scopes_held() AS lo
    ), cases AS MATERIALIZED (
        SELECT i.id, i.title, i.scope, i.state, i.due_at, i.reported_at, i.urgent, i.supervised, i.grade, i.geom
        FROM scopes JOIN incidents AS i ON i.scope COLLATE "C" >= scopes.lo AND i.scope COLLATE "C" < scopes.lo || '~'
        WHERE i.retired_at IS NULL AND i.state NOT IN ('feedback', 'rejected', 'cancelled', 'merged', 'closed') AND NOT i.exercise
    ), late AS (
        SELECT 'late' AS concern, count(*) OVER () AS number, c.due_at AS at, c.id AS feature, c.title, c.scope AS path, c.geom FROM cases AS c
        WHERE c.due_at < now() ORDER BY c.grade = 'major' DESC, c.urgent DESC, c.supervised DESC, c.due_at, c.id LIMIT 3
    ), waiting AS (
        SELECT 'waiting', count(*) OVER (), c.reported_at, c.id, c.title, c.scope, c.geom FROM cases AS c
        WHERE c.state IN ('reported', 'verifying') AND c.reported_at < now() - interval '2 hours' ORDER BY c.urgent DESC, c.reported_at, c.id LIMIT 2
    ), pressing AS (
        SELECT 'pressing', count(*) OVER (), c.due_at, c.id, c.title, c.scope, c.geom FROM cases AS c
        WHERE (c.urgent OR c.supervised OR c.grade = 'major') AND coalesce(c.due_at >= now(), true) ORDER BY c.grade = 'major' DESC, c.due_at, c.id LIMIT 2
    ), zones_due AS (
        SELECT CASE WHEN z.planned_end < now() THEN 'zone_over' ELSE 'zone_due' END, count(*) OVER (PARTITION BY z.planned_end < now()), z.planned_end, z.id, z.name,
            (SELECT min(s.path COLLATE "C") FROM area_shares AS s WHERE s.noun = 'zones' AND s.feature = z.id AND length(s.path) = 15), ST_PointOnSurface(z.geom)
        FROM zones AS z
        WHERE z.state = 'active' AND z.retired_at IS NULL AND NOT z.exercise AND z.planned_end < now() + interval '24 hours'
          AND EXISTS (SELECT FROM area_shares AS s JOIN scopes ON s.path >= scopes.lo AND s.path < scopes.lo || '~' WHERE s.noun = 'zones' AND s.feature = z.id)
        ORDER BY z.planned_end, z.id LIMIT 10
    ), unowned AS (
        SELECT 'unowned', sum(u.households) OVER ()::bigint, NULL::timestamptz, a.id, a.name, u.path, coalesce((SELECT h.spot FROM homes_apart() AS h WHERE h.path = u.path),
            a.label_point)
        FROM homes_unowned() AS u JOIN areas AS a ON a.path = u.path AND area_holds(a, now()) ORDER BY u.households DESC, u.path LIMIT 1
    ), silent AS (
        SELECT 'silent', count(*) OVER (), NULL::timestamptz, g.area, g.name, g.path, a.label_point
        FROM grids_quiet() AS g JOIN areas AS a ON a.id = g.area WHERE g.quiet ORDER BY g.path LIMIT 1
    )
    SELECT f.concern, f.number, f.at, f.feature, f.title, f.path, ST_X(f.geom), ST_Y(f.geom) FROM (
        (TABLE late) UNION ALL (TABLE waiting) UNION ALL (TABLE pressing) UNION ALL (TABLE zones_due) UNION ALL (TABLE unowned) UNION ALL (TABLE silent)
    ) AS f (concern, number, at, feature, title, path, geom)
$$;

-- Whom to call for an area: the posts as `posts_told` tells them, with how a telephone ends for who may ask to see it all.
CREATE OR REPLACE FUNCTION phones_told(ids uuid[]) RETURNS TABLE (id uuid, phone text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
    SELECT p.id, p.phone_masked FROM posts AS p
    WHERE p.id = ANY (ids) AND p.retired_at IS NULL AND p.phone_masked IS NOT NULL AND caller_right() IN ('area', 'leader') AND caller_holds(p.area)
$$;
