-- names_addressed --
SELECT * FROM names_addressed();

-- aliases_addressed --
SELECT * FROM aliases_addressed()
WHERE CAST(:within AS text[]) IS NULL OR EXISTS (SELECT FROM unnest(CAST(:within AS text[])) AS held WHERE scope ^@ held);

-- alias_kept --
SELECT address_aliased(:words, :part, :target, :source);

-- alias_ended --
SELECT address_alias_ended(:alias);

-- buildings_addressed --
SELECT id, name, address, compound, scope, floors FROM buildings
WHERE retired_at IS NULL
  AND (CAST(:within AS text[]) IS NULL OR EXISTS (SELECT FROM unnest(CAST(:within AS text[])) AS held WHERE scope ^@ held))
ORDER BY id;

-- stairwells_addressed --
-- A row a house: a row a stairwell took twice as long to read.
SELECT building, array_agg(id::text) AS ids, array_agg(name) AS names
FROM (SELECT id, building, name FROM units WHERE building = ANY (:houses) AND retired_at IS NULL ORDER BY id) AS told GROUP BY building;

-- dwellings_addressed --
SELECT building, array_agg(id::text) AS ids, array_agg(unit::text) AS units, array_agg(name) AS names, array_agg(floor) AS floors
FROM (SELECT id, building, unit, name, floor FROM dwellings WHERE building = ANY (:houses) AND retired_at IS NULL ORDER BY id) AS told
GROUP BY building;
