-- topology_level --
-- How many areas stand at the level, the nearest level above that has any, and whether each must have one directly above it:
-- above the instance's own path nothing is expected.
SELECT
    (SELECT count(*) FROM areas
    WHERE areas.level = :level AND area_family(areas.theme, areas.kind) = :theme
      AND in_force(areas.retired_at, areas.valid_from, areas.valid_to, :moment)) AS areas,
    (SELECT l.level FROM unnest(CAST(:above AS text[])) WITH ORDINALITY AS l (level, n)
     WHERE EXISTS (SELECT FROM areas WHERE areas.level = l.level AND area_family(areas.theme, areas.kind) = 'governance'
       AND in_force(areas.retired_at, areas.valid_from, areas.valid_to, :moment) AND geom IS NOT NULL)
     ORDER BY n LIMIT 1) AS parent,
    prefix <> '' AND path_width(:directly) > length(prefix) AS expected
FROM instance;

-- topology_gaps --
-- Ground in no area of the level, though an area above covers it or areas of the level enclose it. One row for each piece; if
-- there is none, one row without a piece, because the measure of the whole is wanted anyway. A piece belongs to the area
-- above that holds its representative point, like everything else that has a place.
WITH own AS (
    SELECT ST_Union(geom, :grid) AS geom FROM areas
    WHERE areas.level = :level AND area_family(areas.theme, areas.kind) = :theme
      AND in_force(areas.retired_at, areas.valid_from, areas.valid_to, :moment)
), above AS (
    SELECT ST_Union(geom, :grid) AS geom FROM areas
    WHERE areas.level = :parent AND area_family(areas.theme, areas.kind) = 'governance'
      AND in_force(areas.retired_at, areas.valid_from, areas.valid_to, :moment)
), ground AS MATERIALIZED (
    SELECT own.geom AS own, above.geom AS above, (
        SELECT ST_Union(ST_MakePolygon(ST_ExteriorRing(part.geom)), :grid) FROM ST_Dump(own.geom) AS part) AS filled
    FROM own, above
), whole AS MATERIALIZED (
    SELECT ST_Area(ST_Transform(own, metric_srid(own))) AS own_m2, ST_Area(ST_Transform(above, metric_srid(above))) AS above_m2
    FROM ground
), pieces AS MATERIALIZED (
    SELECT (ST_Dump(ST_Difference(ST_Union(coalesce(above, filled), filled, :grid), own, :grid))).geom FROM ground
), measured AS MATERIALIZED (
    SELECT pieces.geom, ST_Area(flat) AS measure, ST_IsEmpty(ST_Buffer(flat, -:width / 2, 'quad_segs=2')) AS thin
    FROM pieces CROSS JOIN LATERAL (SELECT ST_Transform(pieces.geom, metric_srid(pieces.geom)) AS flat OFFSET 0) AS plane
    WHERE ST_Area(flat) >= :least
)
SELECT whole.*,
    CASE WHEN thin THEN 'sliver_gap' WHEN NOT thin THEN 'gap' END AS kind, measure, ST_AsGeoJSON(measured.geom, 12, 0) AS geometry,
    (SELECT jsonb_build_array(jsonb_build_object('id', p.id, 'path', p.path, 'name', p.name, 'code', p.code)) FROM areas AS p
     WHERE p.level = :parent AND area_family(p.theme, p.kind) = 'governance'
       AND in_force(p.retired_at, p.valid_from, p.valid_to, :moment) AND p.geom && measured.geom
       AND ST_Covers(p.geom, ST_PointOnSurface(measured.geom)) ORDER BY p.path LIMIT 1) AS areas
FROM whole LEFT JOIN measured ON true;

-- topology_overlaps --
-- Ground in two areas of the level: one row a pair.
WITH pairs AS MATERIALIZED (
    SELECT a.id AS one, b.id AS other, ST_CollectionExtract(ST_Intersection(a.geom, b.geom, :grid), 3) AS geom
    FROM areas AS a JOIN areas AS b ON a.geom && b.geom AND a.path < b.path
    WHERE a.level = :level AND area_family(a.theme, a.kind) = :theme
      AND in_force(a.retired_at, a.valid_from, a.valid_to, :moment) AND b.level = :level
      AND area_family(b.theme, b.kind) = :theme AND in_force(b.retired_at, b.valid_from, b.valid_to, :moment)
), measured AS (
    SELECT pairs.*, ST_Area(flat) AS measure, ST_IsEmpty(ST_Buffer(flat, -:width / 2, 'quad_segs=2')) AS thin
    FROM pairs CROSS JOIN LATERAL (SELECT ST_Transform(pairs.geom, metric_srid(pairs.geom)) AS flat OFFSET 0) AS plane
    WHERE NOT ST_IsEmpty(pairs.geom) AND ST_Area(flat) >= :least
)
SELECT CASE WHEN thin THEN 'sliver_overlap' ELSE 'overlap' END AS kind, measure, ST_AsGeoJSON(measured.geom, 12, 0) AS geometry,
    jsonb_build_array(
        jsonb_build_object('id', a.id, 'path', a.path, 'name', a.name, 'code', a.code),
        jsonb_build_object('id', b.id, 'path', b.path, 'name', b.name, 'code', b.code)) AS areas
FROM measured JOIN areas AS a ON a.id = one JOIN areas AS b ON b.id = other;

-- topology_outside --
-- How much of an area lies outside the one its path says it is part of.
WITH pairs AS MATERIALIZED (
    SELECT c.id AS one, p.id AS other, ST_CollectionExtract(ST_Difference(c.geom, p.geom, :grid), 3) AS geom
    FROM areas AS c JOIN areas AS p ON p.scope = left(c.path, path_width(:parent))
    WHERE c.level = :level AND area_family(c.theme, c.kind) = :theme
      AND in_force(c.retired_at, c.valid_from, c.valid_to, :moment) AND p.level = :parent
      AND area_family(p.theme, p.kind) = 'governance' AND in_force(p.retired_at, p.valid_from, p.valid_to, :moment)
), measured AS (
    SELECT pairs.*, ST_Area(flat) AS measure, ST_IsEmpty(ST_Buffer(flat, -:width / 2, 'quad_segs=2')) AS thin
    FROM pairs CROSS JOIN LATERAL (SELECT ST_Transform(pairs.geom, metric_srid(pairs.geom)) AS flat OFFSET 0) AS plane
    WHERE NOT ST_IsEmpty(pairs.geom) AND ST_Area(flat) >= :least
)
SELECT CASE WHEN thin THEN 'sliver_outside' ELSE 'outside_parent' END AS kind, measure,
    ST_AsGeoJSON(measured.geom, 12, 0) AS geometry,
    jsonb_build_array(
        jsonb_build_object('id', c.id, 'path', c.path, 'name', c.name, 'code', c.code),
        jsonb_build_object('id', p.id, 'path', p.path, 'name', p.name, 'code', p.code)) AS areas
FROM measured JOIN areas AS c ON c.id = one JOIN areas AS p ON p.id = other;

-- topology_parentless --
-- Areas that are part of nothing at the level directly above, or have no boundary to be found by.
SELECT faults.kind, ST_Area(ST_Transform(a.geom, metric_srid(a.geom))) AS measure, ST_AsGeoJSON(a.label_point, 12, 0) AS geometry,
    jsonb_build_array(jsonb_build_object('id', a.id, 'path', a.path, 'name', a.name, 'code', a.code)) AS areas
FROM areas AS a CROSS JOIN LATERAL (
    SELECT 'no_parent' AS kind WHERE :expected AND NOT EXISTS (
        SELECT FROM areas AS p
        WHERE p.scope = left(a.path, path_width(:directly)) AND p.level = :directly
          AND area_family(p.theme, p.kind) = 'governance'
          AND in_force(p.retired_at, p.valid_from, p.valid_to, :moment))
    UNION ALL SELECT 'no_polygon' WHERE a.geom IS NULL AND a.level <> 'micro_grid'
) AS faults
WHERE a.level = :level AND area_family(a.theme, a.kind) = :theme
  AND in_force(a.retired_at, a.valid_from, a.valid_to, :moment);

-- topology_duplicates --
-- One row for each code that several areas of the level carry.
SELECT 'duplicate_code' AS kind, sum(ST_Area(ST_Transform(a.geom, metric_srid(a.geom)))) AS measure,
    ST_AsGeoJSON(ST_Collect(a.label_point ORDER BY a.path), 12, 0) AS geometry,
    jsonb_agg(jsonb_build_object('id', a.id, 'path', a.path, 'name', a.name, 'code', a.code) ORDER BY a.path) AS areas
FROM areas AS a
WHERE a.level = :level AND area_family(a.theme, a.kind) = :theme
  AND in_force(a.retired_at, a.valid_from, a.valid_to, :moment) AND a.code IS NOT NULL
GROUP BY a.code HAVING count(*) > 1;

-- topology_blanks --
-- Areas without a code, each with the one that the instance's scheme proposes.
SELECT 'blank_code' AS kind, ST_Area(ST_Transform(a.geom, metric_srid(a.geom))) AS measure,
    ST_AsGeoJSON(a.label_point, 12, 0) AS geometry, jsonb_build_object('proposed', p.code) AS facts,
    jsonb_build_array(jsonb_build_object('id', a.id, 'path', a.path, 'name', a.name, 'code', a.code)) AS areas
FROM areas AS a LEFT JOIN codes_proposed(:level, '', :moment) AS p ON p.area = a.id
WHERE a.level = :level AND area_family(a.theme, a.kind) = :theme
  AND in_force(a.retired_at, a.valid_from, a.valid_to, :moment) AND a.code IS NULL;

-- topology_codes --
-- Codes that are not what the scheme says, that do not go on from the code above, or that were retired with another area.
SELECT faults.kind, ST_Area(ST_Transform(a.geom, metric_srid(a.geom))) AS measure, ST_AsGeoJSON(a.label_point, 12, 0) AS geometry,
    faults.facts, jsonb_build_array(jsonb_build_object('id', a.id, 'path', a.path, 'name', a.name, 'code', a.code)) AS areas
FROM areas AS a CROSS JOIN LATERAL (
    SELECT 'code_scheme' AS kind, jsonb_build_object('scheme', s.name) AS facts
    FROM code_schemes AS s, instance
    WHERE s.name = coalesce(instance.code_scheme, '6-3-3-3') AND a.code !~ ('^(' || (s.patterns ->> :level) || ')$')
    UNION ALL
    SELECT 'code_hierarchy', jsonb_build_object('parent', coalesce(p.name, p.path), 'stem', code_stem(p.code, p.level)) FROM areas AS p
    WHERE p.scope = left(a.path, path_width(:directly)) AND p.level = :directly
      AND area_family(p.theme, p.kind) = 'governance'
      AND in_force(p.retired_at, p.valid_from, p.valid_to, :moment)
      AND NOT a.code ^@ code_stem(p.code, p.level)
    UNION ALL
    SELECT 'retired_code', jsonb_build_object('other', coalesce(gone.name, gone.path))
    FROM codes_retired(:level, :moment) AS gone WHERE gone.code = a.code AND gone.path <> a.path
) AS faults
WHERE a.level = :level AND area_family(a.theme, a.kind) = :theme
  AND in_force(a.retired_at, a.valid_from, a.valid_to, :moment) AND a.code IS NOT NULL;

-- topology_leaderless --
-- Areas under a special form of management that nobody leads, and areas that nobody answers for. Stairwells and
-- micro-grids have stewards, and a statement of their own.
SELECT faults.kind, ST_Area(ST_Transform(a.geom, metric_srid(a.geom))) AS measure, ST_AsGeoJSON(a.label_point, 12, 0) AS geometry,
    jsonb_build_object('mode', a.management_mode) AS facts,
    jsonb_build_array(jsonb_build_object('id', a.id, 'path', a.path, 'name', a.name, 'code', a.code)) AS areas
FROM areas AS a CROSS JOIN LATERAL (
    SELECT 'no_lead' AS kind WHERE a.management_mode <> 'normal' AND coalesce(btrim(a.lead_body), '') = ''
    UNION ALL
    SELECT 'no_post' WHERE a.level <> 'micro_grid' AND NOT EXISTS (
        SELECT FROM posts AS p WHERE p.area = a.path AND p.unit IS NULL AND p.retired_at IS NULL
          AND (p.starts_at IS NULL OR p.starts_at <= :moment) AND (p.ends_at IS NULL OR p.ends_at > :moment))
    UNION ALL
    SELECT 'no_steward' WHERE a.level = 'micro_grid' AND NOT EXISTS (
        SELECT FROM posts AS p WHERE p.area = a.path AND p.role = 'steward' AND p.retired_at IS NULL
          AND (p.starts_at IS NULL OR p.starts_at <= :moment) AND (p.ends_at IS NULL OR p.ends_at > :moment))
) AS faults
WHERE a.level = :level AND area_family(a.theme, a.kind) = :theme
  AND in_force(a.retired_at, a.valid_from, a.valid_to, :moment);

-- topology_stairwells --
-- Stairwells of houses people live in that have no steward, neither of their own nor of their micro-grid. One row for each
-- area of the level that has such; where a house lies in no area, one row without an area.
WITH stewards AS MATERIALIZED (
    SELECT area, unit FROM posts AS p WHERE p.role = 'steward' AND p.retired_at IS NULL
      AND (p.starts_at IS NULL OR p.starts_at <= :moment) AND (p.ends_at IS NULL OR p.ends_at > :moment)
), answered AS MATERIALIZED (
    SELECT unit FROM stewards WHERE unit IS NOT NULL
    UNION
    SELECT u.id FROM stewards AS s JOIN area_members AS m ON m.area = s.area
    JOIN units AS u ON u.building = m.building AND (m.unit IS NULL OR m.unit = u.id) WHERE s.unit IS NULL
), missing AS (
    SELECT left(u.scope, path_width(:level)) AS path, concat(c.name, b.name, u.name) AS name, ST_PointOnSurface(b.geom) AS geom
    FROM units AS u JOIN buildings AS b ON b.id = u.building LEFT JOIN compounds AS c ON c.id = b.compound
    WHERE u.retired_at IS NULL AND b.retired_at IS NULL AND b.use IN ('residential', 'mixed', 'dormitory')
      AND u.id NOT IN (SELECT unit FROM answered)
)
SELECT 'no_steward' AS kind, CAST(NULL AS float8) AS measure, ST_AsGeoJSON(ST_Collect(missing.geom), 12, 0) AS geometry,
    jsonb_build_object('count', count(*), 'names', (array_agg(missing.name ORDER BY missing.name))[1:5]) AS facts,
    CASE WHEN a.id IS NOT NULL THEN
        jsonb_build_array(jsonb_build_object('id', a.id, 'path', a.path, 'name', a.name, 'code', a.code)) END AS areas
FROM missing LEFT JOIN areas AS a ON a.scope = missing.path AND a.level = :level
  AND area_family(a.theme, a.kind) = :theme AND in_force(a.retired_at, a.valid_from, a.valid_to, :moment)

GROUP BY a.id, a.path, a.name, a.code;

-- topology_houses --
-- Houses people live in of which no micro-grid has any part: one row for each grid that has such.
WITH missing AS (
    SELECT left(b.scope, 15) AS path, concat(c.name, b.name) AS name, ST_PointOnSurface(b.geom) AS geom
    FROM buildings AS b LEFT JOIN compounds AS c ON c.id = b.compound
    WHERE b.retired_at IS NULL AND b.use IN ('residential', 'mixed', 'dormitory') AND NOT EXISTS (
        SELECT FROM area_members AS m JOIN areas AS a ON a.scope = m.area
        WHERE m.building = b.id AND a.level = 'micro_grid' AND in_force(a.retired_at, a.valid_from, a.valid_to, :moment))
)
SELECT 'no_micro_grid' AS kind, CAST(NULL AS float8) AS measure, ST_AsGeoJSON(ST_Collect(missing.geom), 12, 0) AS geometry,
    jsonb_build_object('count', count(*), 'names', (array_agg(missing.name ORDER BY missing.name))[1:5]) AS facts,
    CASE WHEN a.id IS NOT NULL THEN
        jsonb_build_array(jsonb_build_object('id', a.id, 'path', a.path, 'name', a.name, 'code', a.code)) END AS areas
FROM missing LEFT JOIN areas AS a ON a.scope = missing.path AND a.level = 'grid'
  AND area_family(a.theme, a.kind) = 'governance' AND in_force(a.retired_at, a.valid_from, a.valid_to, :moment)
GROUP BY a.id, a.path, a.name, a.code;

-- topology_posts --
-- Posts whose area is no more: nobody is called when something happens there.
SELECT 'astray_post' AS kind, CAST(NULL AS float8) AS measure, CAST(NULL AS text) AS geometry,
    jsonb_build_object('count', count(*)) AS facts,
    jsonb_build_array(jsonb_build_object('id', NULL, 'path', p.area, 'name', (
        SELECT name FROM areas AS a WHERE a.scope = p.area ORDER BY valid_from DESC LIMIT 1), 'code', NULL)) AS areas
FROM posts AS p
WHERE length(p.area) = path_width(:level) AND p.retired_at IS NULL
  AND (p.starts_at IS NULL OR p.starts_at <= :moment) AND (p.ends_at IS NULL OR p.ends_at > :moment)
  AND NOT EXISTS (SELECT FROM areas AS a WHERE a.scope = p.area AND a.retired_at IS NULL
                  AND a.valid_from <= :moment AND (a.valid_to IS NULL OR a.valid_to > :moment))
GROUP BY p.area;
