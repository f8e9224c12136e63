-- areas_here --
-- The areas at a point, largest first, with who answers for each now. Names of people are masked.
SELECT json_build_object(
    'level', a.level, 'id', a.area, 'path', a.path, 'code', areas.code, 'name', areas.name, 'reason', a.reason,
    'management_mode', areas.management_mode, 'lead_body', areas.lead_body,
    'responsible', coalesce((
        SELECT json_agg(json_build_object('role', p.role, 'holder', p.holder, 'deputy', p.deputy, 'organisation', p.organisation)
            ORDER BY p.role, p.id)
        FROM posts_told(ARRAY[a.path]) AS p
    ), '[]'::json))
FROM areas_at(ST_SetSRID(ST_Point(:lon, :lat), 4326), now()) AS a
JOIN areas ON areas.id = a.area
ORDER BY length(a.path);

-- nearest_area --
-- The nearest area of the level that everything should be found on, with its distance in metres.
SELECT near.path, near.name, level, near.metres AS distance_m
FROM placing_level(now()) AS level, nearest_area(ST_SetSRID(ST_Point(:lon, :lat), 4326), level, now()) AS near;

-- zones_here --
-- The zones in force at a point.
SELECT json_build_object('id', id, 'name', name, 'kind', kind, 'standing',
    CASE WHEN planned_end < now() THEN 'overdue_review' WHEN starts_at > now() THEN 'upcoming' ELSE 'active' END,
    'planned_end', planned_end, 'exercise', exercise)
FROM zones
WHERE geom && ST_SetSRID(ST_Point(:lon, :lat), 4326) AND ST_Intersects(geom, ST_SetSRID(ST_Point(:lon, :lat), 4326))
  AND state = 'active' AND retired_at IS NULL
ORDER BY starts_at;
