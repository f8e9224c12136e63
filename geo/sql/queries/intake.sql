-- keep_problems --
INSERT INTO load_problems (batch, row, field, reason, facts, value, suggestion, repaired, record, lon, lat)
SELECT :batch, p.row, p.field, p.reason, p.facts, coalesce(p.value, ''), coalesce(p.suggestion, ''), p.repaired, p.record, p.lon, p.lat
FROM json_to_recordset(CAST(:problems AS json)) AS p (
    row integer, field text, reason text, facts jsonb, value text, suggestion text, repaired boolean, record jsonb, lon float, lat float)
ON CONFLICT DO NOTHING;

-- shapes_known --
-- What lies in a box: buildings where there are any, else the smallest areas.
WITH box AS (SELECT ST_MakeEnvelope(:west, :south, :east, :north, 4326) AS geom),
houses AS (SELECT b.geom FROM buildings AS b, box WHERE b.geom && box.geom AND b.retired_at IS NULL LIMIT 3000),
grounds AS (
    SELECT a.geom FROM areas AS a, box
    WHERE a.geom && box.geom AND a.level = placing_level(now()) AND area_holds(a, now()) LIMIT 3000)
SELECT ST_AsBinary(geom) FROM houses UNION ALL SELECT ST_AsBinary(geom) FROM grounds WHERE (SELECT count(*) FROM houses) < 30;

-- areas_near --
SELECT ST_XMin(e) AS west, ST_YMin(e) AS south, ST_XMax(e) AS east, ST_YMax(e) AS north
FROM (SELECT ST_Extent(geom) AS e FROM areas WHERE retired_at IS NULL AND geom IS NOT NULL) AS q WHERE e IS NOT NULL;

-- batch_opened --
INSERT INTO batches (id, noun, source, actor) VALUES (coalesce(CAST(:batch AS uuid), uuid_v7()), :noun, :source, acting())
ON CONFLICT (id) DO UPDATE SET noun = excluded.noun, source = excluded.source, report = '{}' RETURNING id;

-- problems_by_reason --
SELECT field, reason, facts, count(*) AS count FROM load_problems WHERE batch = :batch AND NOT repaired GROUP BY field, reason, facts;

-- level_of_batch --
-- Whether a batch of areas brought a level that there was none of.
SELECT EXISTS (
    SELECT FROM (SELECT DISTINCT level FROM areas WHERE batch = CAST(:batch AS uuid) AND geom IS NOT NULL) AS l
    WHERE NOT EXISTS (
        SELECT FROM areas AS a WHERE a.level = l.level AND a.batch IS DISTINCT FROM CAST(:batch AS uuid) AND a.geom IS NOT NULL));

-- places_in_houses --
-- Scope and placement of rows that lie in houses, in their order; of neither, where a record that is there keeps its house.
SELECT q.scope, q.placement
FROM unnest(CAST(:building AS uuid[]), CAST(:unit AS uuid[]), CAST(:floor AS integer[]), CAST(:dwelling AS uuid[]), CAST(:household AS uuid[]))
    WITH ORDINALITY AS s (building, unit, floor, dwelling, household, n)
LEFT JOIN LATERAL place_in_house(s.building, s.unit, s.floor, s.dwelling, s.household) AS q ON true
ORDER BY n;

-- houses_implied --
-- The house, and of a dwelling the stairwell, that a code of something in it tells.
SELECT id::text, building::text, unit::text FROM (
    SELECT id, building, NULL::uuid AS unit FROM units WHERE id = ANY (CAST(:unit AS uuid[]))
    UNION ALL SELECT id, building, unit FROM dwellings WHERE id = ANY (CAST(:dwelling AS uuid[]))
    UNION ALL SELECT id, building, NULL FROM households WHERE id = ANY (CAST(:household AS uuid[]))) AS told;

-- units_named --
SELECT id::text, building::text, NULL::text AS unit, name FROM units
WHERE building = ANY (CAST(:houses AS uuid[])) AND name = ANY (CAST(:names AS text[])) AND retired_at IS NULL;

-- dwellings_named --
SELECT id::text, building::text, unit::text, name FROM dwellings
WHERE building = ANY (CAST(:houses AS uuid[])) AND name = ANY (CAST(:names AS text[])) AND retired_at IS NULL;
