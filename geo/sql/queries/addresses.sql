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
SELECT id, building, name FROM units WHERE building = ANY (:houses) AND retired_at IS NULL ORDER BY id;

-- dwellings_addressed --
SELECT id, building, unit, name, floor FROM dwellings WHERE building = ANY (:houses) AND retired_at IS NULL ORDER BY id;
