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
