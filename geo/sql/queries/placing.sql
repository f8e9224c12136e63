-- placeable_areas --
-- The living area versions that anything may be placed in.
SELECT id, level, path, code, name, valid_from, valid_to, ST_AsBinary(geom) AS geom, ST_X(label_point) AS x, ST_Y(label_point) AS y
FROM areas
WHERE theme = 'governance' AND kind NOT IN ('unit', 'thematic') AND retired_at IS NULL
ORDER BY level, path;

-- placement_numbers --
-- The number of each combination of areas, made where it is new.
WITH wanted AS (
    SELECT * FROM json_to_recordset(CAST(:wanted AS json)) AS w
        (province uuid, city uuid, district uuid, street uuid, community uuid, grid uuid, micro_grid uuid, path text)
), made AS (
    INSERT INTO placements (province, city, district, street, community, grid, micro_grid, path)
    SELECT province, city, district, street, community, grid, micro_grid, path FROM wanted
    ON CONFLICT ON CONSTRAINT placements_areas_key DO UPDATE SET path = placements.path
    RETURNING *
)
SELECT id, coalesce(province::text, ''), coalesce(city::text, ''), coalesce(district::text, ''), coalesce(street::text, ''),
    coalesce(community::text, ''), coalesce(grid::text, ''), coalesce(micro_grid::text, '')
FROM made;

-- review_queue --
SELECT * FROM review_queue(CAST(:noun AS text), CAST(:reason AS text), :limit);

-- review_counts --
SELECT * FROM review_counts();

-- whole_houses --
-- Which of some houses, by their number, a micro-grid of the ground they stand on names as a whole, and its path.
SELECT b.n - 1, m.path
FROM unnest(CAST(:houses AS uuid[]), CAST(:scopes AS text[])) WITH ORDINALITY AS b (id, ground, n), micro_grid_of(b.id, NULL, NULL, b.ground) AS m;

-- settle_houses --
-- Place what lies in the houses of a box, or in all, anew: how many of a noun moved.
SELECT replace_in_houses(CAST(:noun AS regclass), CAST(:seat AS text[]), CASE WHEN CAST(:west AS float8) IS NOT NULL
    THEN ARRAY(SELECT id FROM buildings WHERE geom && ST_MakeEnvelope(:west, :south, :east, :north, 4326)) END);

-- settle_shapes --
-- The shares of what lies in a box, or of everything.
SELECT shapes_settled(CASE WHEN CAST(:west AS float8) IS NOT NULL THEN ST_MakeEnvelope(:west, :south, :east, :north, 4326) END);
