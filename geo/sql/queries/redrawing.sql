-- standing_versions --
SELECT a.id, a.path, a.level, a.code, a.valid_from, a.valid_to, instance.prefix ^@ a.path AS root FROM areas AS a, instance
WHERE a.path = ANY (:paths) AND in_force(a.retired_at, a.valid_from, a.valid_to, :at);

-- versions_below --
-- What lies below some areas and has to go on under other paths, larger levels first.
SELECT a.id, a.path, a.level, a.code, a.valid_from, a.valid_to FROM areas AS a, unnest(CAST(:paths AS text[])) AS p
WHERE a.path ^@ p AND a.path <> p AND in_force(a.retired_at, a.valid_from, a.valid_to, :at)
ORDER BY length(a.path), a.path;

-- joined_shape --
SELECT ST_AsBinary(ST_Multi(ST_Union(geom))) FROM areas WHERE id = ANY (:ids);

-- holding_piece --
-- The number of the piece that holds an area's representative point, or else is nearest; of several, the first. An area
-- that is a list has no point of its own, so one of its houses speaks for it.
SELECT n - 1 FROM unnest(CAST(:pieces AS bytea[])) WITH ORDINALITY AS piece (shape, n), areas AS a
WHERE a.id = :area
ORDER BY ST_Distance(ST_GeomFromWKB(shape, 4326), coalesce(a.label_point, (
    SELECT ST_PointOnSurface(b.geom) FROM area_members AS m JOIN buildings AS b ON b.id = m.building
    WHERE m.area = a.path ORDER BY b.id LIMIT 1))), n
LIMIT 1;

-- places_within_reach --
SELECT * FROM places_in(CAST(:noun AS regclass), :of_moment, :level, (
    SELECT ST_Expand(ST_Envelope(ST_Collect(shape)), 1e-7) FROM (
        SELECT geom AS shape FROM areas WHERE id = ANY (:ids)
        UNION ALL SELECT ST_GeomFromWKB(drawn, 4326) FROM unnest(CAST(:drawn AS bytea[])) AS drawn) AS shapes), :at);

-- strips_arising --
-- After the change: ground of the closed versions that is in no area of the level, and ground of the opened ones that is in
-- another too and was not in the closed ones before.
WITH closed AS (
    SELECT ST_Union(geom) AS geom FROM areas WHERE id = ANY (:ids)
), standing AS MATERIALIZED (
    SELECT a.path, a.name, a.geom, a.path = ANY (:opened) AS fresh FROM areas AS a, closed
    WHERE a.level = :level AND area_family(a.theme, a.kind) = 'governance' AND in_force(a.retired_at, a.valid_from, a.valid_to, :at)
      AND (a.path = ANY (:opened) OR a.geom && closed.geom
           OR EXISTS (SELECT FROM areas AS o WHERE o.path = ANY (:opened) AND o.valid_from = :at AND o.geom && a.geom))
), strips AS (
    SELECT ST_Difference(closed.geom, coalesce((SELECT ST_Union(geom, :grid) FROM standing), ST_GeomFromText('POLYGON EMPTY', 4326)), :grid) AS geom,
        CAST('{}' AS text[]) AS others
    FROM closed
    UNION ALL
    SELECT CASE WHEN b.fresh THEN ST_Intersection(a.geom, b.geom, :grid)
        ELSE ST_Difference(ST_Intersection(a.geom, b.geom, :grid), closed.geom, :grid) END, ARRAY[a.path, b.path]
    FROM standing AS a JOIN standing AS b ON a.geom && b.geom AND a.fresh AND (NOT b.fresh OR a.path < b.path), closed
), parts AS (
    SELECT (ST_Dump(ST_CollectionExtract(geom, 3))).geom, others FROM strips
)
SELECT ST_AsGeoJSON(geom, 12, 0) AS geometry, ST_Area(ST_Transform(geom, metric_srid(geom))) AS measure, others
FROM parts WHERE ST_Area(ST_Transform(geom, metric_srid(geom))) >= :least ORDER BY 3, 2 DESC;
