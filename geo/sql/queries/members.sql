-- areas_by_members --
-- The areas that are given as a list, now or from a later day on, with where to look for what they name. Of given paths,
-- all that share their community: their boundaries share out the same ground.
SELECT a.id, a.path, a.level, a.name, a.members, a.derived OR a.geom IS NULL AS open, greatest(a.valid_from, now()) AS moment,
    left(a.path, least(path_width(a.level) - 3, 12)) AS home
FROM areas AS a
WHERE nullif(btrim(a.members), '') IS NOT NULL AND a.retired_at IS NULL AND (a.valid_to IS NULL OR a.valid_to > now())
  AND (CAST(:paths AS text[]) IS NULL OR EXISTS (SELECT FROM unnest(CAST(:paths AS text[])) AS p WHERE a.path ^@ left(p, 12)))
ORDER BY home, moment, a.path;

-- houses_of_home --
-- The houses in an area, each with what it is called, and whether a boundary drawn by hand holds it.
SELECT b.id, b.name, b.scope, b.address, c.name AS compound, c.aliases, ST_AsBinary(b.geom) AS geom, (
    SELECT min(g.path) FROM areas AS g
    WHERE g.geom && b.geom AND ST_Covers(g.geom, ST_PointOnSurface(b.geom)) AND NOT g.derived AND g.level = 'grid'
      AND area_family(g.theme, g.kind) = 'governance' AND in_force(g.retired_at, g.valid_from, g.valid_to, :moment)) AS drawn
FROM buildings AS b LEFT JOIN compounds AS c ON c.id = b.compound
LEFT JOIN areas AS h ON h.scope = :home AND in_force(h.retired_at, h.valid_from, h.valid_to, :moment)
WHERE b.retired_at IS NULL AND CASE WHEN h.geom IS NULL THEN b.scope ^@ :home
    ELSE b.geom && h.geom AND ST_Covers(h.geom, ST_PointOnSurface(b.geom)) END
ORDER BY b.id;

-- stairwells_of_houses --
SELECT id, building, name FROM units WHERE building = ANY (:houses) AND retired_at IS NULL ORDER BY id;

-- ground_of_home --
-- The ground of an area, and what of it boundaries drawn by hand have taken.
SELECT ST_AsBinary(h.geom) AS ground, ARRAY(
    SELECT ST_AsBinary(g.geom) FROM areas AS g
    WHERE g.geom && h.geom AND NOT g.derived AND g.level = 'grid' AND area_family(g.theme, g.kind) = 'governance'
      AND in_force(g.retired_at, g.valid_from, g.valid_to, :moment)) AS taken
FROM areas AS h WHERE h.scope = :home AND in_force(h.retired_at, h.valid_from, h.valid_to, :moment);
