-- areas_addressed --
-- The areas that an address may name, as the caller sees them.
SELECT name, path FROM areas
WHERE name IS NOT NULL AND retired_at IS NULL AND (valid_to IS NULL OR valid_to > now()) AND path IS NOT NULL
ORDER BY path;

-- compounds_addressed --
SELECT id, name, aliases, address, scope FROM compounds WHERE retired_at IS NULL ORDER BY id;

-- buildings_addressed --
SELECT id, name, address, compound, scope, floors FROM buildings
WHERE retired_at IS NULL AND (CAST(:within AS text) IS NULL OR scope ^@ CAST(:within AS text)) ORDER BY id;

-- stairwells_addressed --
SELECT id, building, name FROM units WHERE building = ANY (:houses) AND retired_at IS NULL ORDER BY id;

-- dwellings_addressed --
SELECT id, building, unit, name, floor FROM dwellings WHERE building = ANY (:houses) AND retired_at IS NULL ORDER BY id;
