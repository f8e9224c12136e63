-- Areas that are lists: of houses, stairwells or floors.

-- The members of some areas are those given, no others; what stays the same is not written. How many rows came or went.
DROP FUNCTION IF EXISTS members_written(text, jsonb);
CREATE OR REPLACE FUNCTION members_written(of_areas text[], wanted jsonb) RETURNS integer
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
    WITH given AS (
        SELECT DISTINCT area, building, unit, floor_from, floor_to
        FROM jsonb_to_recordset(wanted) AS m (area text, building uuid, unit uuid, floor_from integer, floor_to integer)
    ), gone AS (
        DELETE FROM area_members AS m WHERE m.area = ANY (of_areas) AND NOT EXISTS (
            SELECT FROM given AS g WHERE g.area = m.area AND g.building = m.building
                AND (g.unit, g.floor_from, g.floor_to) IS NOT DISTINCT FROM (m.unit, m.floor_from, m.floor_to))
        RETURNING id
    ), come AS (
        INSERT INTO area_members (area, building, unit, floor_from, floor_to)
        SELECT g.* FROM given AS g WHERE g.area = ANY (of_areas) AND NOT EXISTS (
            SELECT FROM area_members AS m WHERE m.area = g.area AND m.building = g.building
                AND (g.unit, g.floor_from, g.floor_to) IS NOT DISTINCT FROM (m.unit, m.floor_from, m.floor_to))
        RETURNING id
    )
    SELECT ((SELECT count(*) FROM gone) + (SELECT count(*) FROM come))::integer
$$;

-- The boundary that follows from the members; NULL takes it away. A boundary drawn by hand is not touched.
CREATE OR REPLACE FUNCTION area_derived(of_area uuid, shape bytea) RETURNS boolean
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
DECLARE
    drawn geometry := ST_SetSRID(ST_GeomFromWKB(shape), 4326);
BEGIN
    UPDATE areas SET geom = drawn, derived = drawn IS NOT NULL
    WHERE id = of_area AND (derived OR geom IS NULL) AND ST_AsBinary(geom) IS DISTINCT FROM ST_AsBinary(drawn);
    RETURN FOUND;
END
$$;

-- Whoever draws a derived boundary anew by hand means it: it is derived no longer, and the next derivation leaves it alone.
CREATE OR REPLACE FUNCTION area_drawn() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    NEW.derived := false;
    RETURN NEW;
END
$$;

CREATE OR REPLACE TRIGGER a_drawn BEFORE UPDATE OF geom ON areas FOR EACH ROW
    WHEN (OLD.derived AND ST_AsBinary(NEW.geom) IS DISTINCT FROM ST_AsBinary(OLD.geom) AND current_user <> 'jingwei_definer')
    EXECUTE FUNCTION area_drawn();

-- The micro-grid of a house, a stairwell in it (or NULL) and a floor (or NULL): that which names it most closely. A
-- micro-grid of some floors only is told to those who know their floor. `ground` is the path of the area that the house
-- stands in: a list of another grid has no say in whose it is. None, or one row: a function of rows, and nothing set, is
-- planned together with what asks, which for the dwellings of a load costs a quarter of calling it.
DROP FUNCTION IF EXISTS micro_grid_of(uuid, uuid, integer);
CREATE OR REPLACE FUNCTION micro_grid_of(of_building uuid, of_unit uuid, on_floor integer, ground text DEFAULT '')
RETURNS TABLE (path text)
LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT m.area FROM area_members AS m
    -- Kept to the index of paths: while a first load goes on, nothing is known of the table, and any other seemed as good.
    CROSS JOIN LATERAL (SELECT level, theme, kind, retired_at, valid_from, valid_to FROM areas WHERE scope = m.area OFFSET 0) AS a
    WHERE m.building = of_building AND (m.unit IS NULL OR m.unit = of_unit)
      AND (m.floor_from IS NULL OR on_floor >= m.floor_from) AND (m.floor_to IS NULL OR on_floor <= m.floor_to)
      AND m.area ^@ left(ground, path_width('grid')) AND a.level = 'micro_grid'
      AND area_family(a.theme, a.kind) = 'governance' AND in_force(a.retired_at, a.valid_from, a.valid_to, now())
    ORDER BY m.unit IS NULL, m.floor_from IS NULL AND m.floor_to IS NULL, m.area LIMIT 1
$$;
