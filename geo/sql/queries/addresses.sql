-- names_addressed --
SELECT * FROM names_addressed();

-- aliases_addressed --
SELECT * FROM aliases_addressed()
WHERE CAST(:within AS text[]) IS NULL OR EXISTS (SELECT FROM unnest(CAST(:within AS text[])) AS held WHERE scope ^@ held);

-- aliases_titled --
-- By what those who answer for them call the places that words mean.
SELECT a.id, area_title(a.scope) AS area, concat(
    CASE WHEN b.name IS NULL OR NOT starts_with(b.name, c.name) THEN c.name END, b.name, u.name,
    CASE WHEN d.name ~ '^[0-9A-Za-z]+$' THEN d.name || '室' ELSE d.name END) AS title
FROM aliases_addressed() AS a
LEFT JOIN compounds AS c ON c.id = a.compound LEFT JOIN buildings AS b ON b.id = a.building
LEFT JOIN units AS u ON u.id = a.unit LEFT JOIN dwellings AS d ON d.id = a.dwelling
WHERE a.id = ANY (CAST(:ids AS uuid[]));

-- alias_kept --
SELECT address_aliased(:words, :part, :target, :source);

-- alias_ended --
SELECT address_alias_ended(:alias);

-- buildings_addressed --
-- All, or those that one text may speak of: of the compounds that it seems to name, or called as it says. What a name ends
-- with is cut off by its letters, not by a pattern: that took 4 times as long.
SELECT id, name, address, compound, scope, floors FROM buildings
WHERE retired_at IS NULL
  AND (CAST(:within AS text[]) IS NULL OR EXISTS (SELECT FROM unnest(CAST(:within AS text[])) AS held WHERE scope ^@ held))
  AND (CAST(:told AS text) IS NULL OR compound = ANY (CAST(:compounds AS uuid[])) OR id = ANY (CAST(:houses AS uuid[]))
       OR (rtrim(name, :ends) <> '' AND strpos(:told, rtrim(name, :ends)) > 0)
       OR (rtrim(address, :ends) <> '' AND strpos(:told, rtrim(address, :ends)) > 0))
ORDER BY id;

-- points_addressed --
SELECT id, ST_X(point) AS lon, ST_Y(point) AS lat FROM (
    SELECT id, ST_PointOnSurface(geom) AS point FROM buildings WHERE id = ANY (CAST(:houses AS uuid[]))
    UNION ALL SELECT id, ST_PointOnSurface(geom) FROM compounds WHERE id = ANY (CAST(:compounds AS uuid[]))
) AS told;

-- stairwells_addressed --
-- A row a house: a row a stairwell took twice as long to read.
SELECT building, array_agg(id::text) AS ids, array_agg(name) AS names
FROM (SELECT id, building, name FROM units WHERE building = ANY (:houses) AND retired_at IS NULL ORDER BY id) AS told GROUP BY building;

-- dwellings_addressed --
SELECT building, array_agg(id::text) AS ids, array_agg(unit::text) AS units, array_agg(name) AS names, array_agg(floor) AS floors
FROM (SELECT id, building, unit, name, floor FROM dwellings WHERE building = ANY (:houses) AND retired_at IS NULL ORDER BY id) AS told
GROUP BY building;

-- areas_titled --
SELECT path, area_title(path) AS title FROM unnest(CAST(:paths AS text[])) AS path;

-- houses_titled --
-- What people call compounds, buildings and stairwells, as far as the caller may see them.
SELECT id, name AS title FROM compounds WHERE id = ANY (CAST(:ids AS uuid[]))
UNION ALL
SELECT b.id, concat(CASE WHEN NOT starts_with(b.name, c.name) THEN c.name END, b.name) FROM buildings AS b LEFT JOIN compounds AS c ON c.id = b.compound
WHERE b.id = ANY (CAST(:ids AS uuid[]))
UNION ALL
SELECT u.id, concat(CASE WHEN NOT starts_with(b.name, c.name) THEN c.name END, b.name, u.name)
FROM units AS u JOIN buildings AS b ON b.id = u.building LEFT JOIN compounds AS c ON c.id = b.compound WHERE u.id = ANY (CAST(:ids AS uuid[]));

-- dwellings_titled --
SELECT d.id, concat(CASE WHEN NOT starts_with(b.name, c.name) THEN c.name END, b.name, u.name, d.name) AS title
FROM dwellings AS d JOIN buildings AS b ON b.id = d.building LEFT JOIN compounds AS c ON c.id = b.compound LEFT JOIN units AS u ON u.id = d.unit
WHERE d.id = ANY (CAST(:ids AS uuid[]));
