-- representative_points --
-- The point by which each polygon is placed, as the trigger sees it.
SELECT ST_X(p), ST_Y(p)
FROM unnest(CAST(:shapes AS bytea[])) WITH ORDINALITY AS s (shape, n), ST_PointOnSurface(ST_GeomFromWKB(shape, 4326)) AS p
ORDER BY n;

-- keep_problems --
INSERT INTO load_problems (batch, row, field, reason, record)
SELECT :batch, p.row, p.field, p.reason, p.record
FROM json_to_recordset(CAST(:problems AS json)) AS p (row integer, field text, reason text, record jsonb)
ON CONFLICT (batch, row) DO NOTHING;

-- areas_of_batch --
-- Where a batch of areas lies, and whether it brought a level that there was none of.
SELECT ST_XMin(e) AS west, ST_YMin(e) AS south, ST_XMax(e) AS east, ST_YMax(e) AS north,
    EXISTS (SELECT FROM unnest(levels) AS l (level) WHERE NOT EXISTS (
        SELECT FROM areas AS a WHERE a.level = l.level AND a.batch IS DISTINCT FROM CAST(:batch AS uuid) AND a.geom IS NOT NULL)) AS new_level
FROM (SELECT ST_Extent(geom) AS e, array_agg(DISTINCT level) AS levels FROM areas
      WHERE batch = CAST(:batch AS uuid) AND geom IS NOT NULL) AS q;

-- places_in_houses --
-- Scope and placement of rows that lie in houses, in their order.
SELECT q.scope, q.placement
FROM unnest(CAST(:building AS uuid[]), CAST(:unit AS uuid[]), CAST(:floor AS integer[]), CAST(:dwelling AS uuid[]), CAST(:household AS uuid[]))
    WITH ORDINALITY AS s (building, unit, floor, dwelling, household, n), place_in_house(s.building, s.unit, s.floor, s.dwelling, s.household) AS q
ORDER BY n;
