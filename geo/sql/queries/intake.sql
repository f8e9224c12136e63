-- representative_points --
-- The point by which each polygon is placed, as the trigger sees it.
SELECT ST_X(p), ST_Y(p)
FROM unnest(CAST(:shapes AS bytea[])) WITH ORDINALITY AS s (shape, n), ST_PointOnSurface(ST_GeomFromWKB(shape, 4326)) AS p
ORDER BY n;

-- keep_problems --
INSERT INTO load_problems (batch, row, field, reason, record)
SELECT :batch, p.row, p.field, p.reason, p.record
FROM json_to_recordset(CAST(:problems AS json)) AS p (row integer, field text, reason text, record jsonb)
ON CONFLICT DO NOTHING;

-- batch_opened --
INSERT INTO batches (id, noun, source, actor) VALUES (coalesce(CAST(:batch AS uuid), uuid_v7()), :noun, :source, acting())
ON CONFLICT (id) DO UPDATE SET noun = excluded.noun, source = excluded.source, report = '{}' RETURNING id;

-- problems_by_reason --
SELECT reason, count(*) AS count FROM load_problems WHERE batch = :batch GROUP BY reason;

-- level_of_batch --
-- Whether a batch of areas brought a level that there was none of.
SELECT EXISTS (
    SELECT FROM (SELECT DISTINCT level FROM areas WHERE batch = CAST(:batch AS uuid) AND geom IS NOT NULL) AS l
    WHERE NOT EXISTS (
        SELECT FROM areas AS a WHERE a.level = l.level AND a.batch IS DISTINCT FROM CAST(:batch AS uuid) AND a.geom IS NOT NULL));

-- places_in_houses --
-- Scope and placement of rows that lie in houses, in their order.
SELECT q.scope, q.placement
FROM unnest(CAST(:building AS uuid[]), CAST(:unit AS uuid[]), CAST(:floor AS integer[]), CAST(:dwelling AS uuid[]), CAST(:household AS uuid[]))
    WITH ORDINALITY AS s (building, unit, floor, dwelling, household, n), place_in_house(s.building, s.unit, s.floor, s.dwelling, s.household) AS q
ORDER BY n;
