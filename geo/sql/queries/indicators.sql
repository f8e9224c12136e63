-- indicator_counts --
-- How cases went in a period, counted by an axis, with the names of areas and bodies.
SELECT c.*, coalesce(area_title(c.key), o.name, m.title, c.key) AS name
FROM indicator_counts(:path, CAST(:since AS timestamptz), CAST(:until AS timestamptz), :axis) AS c
LEFT JOIN organisations AS o ON :axis = 'body' AND o.id::text = c.key
LEFT JOIN matters AS m ON :axis = 'matter' AND m.code = c.key
ORDER BY c.key;

-- indicator_load --
-- What stands beside the rates of areas.
SELECT path, residents, workers, open FROM indicator_load(CAST(:paths AS text[]));
