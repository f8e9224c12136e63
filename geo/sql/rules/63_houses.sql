-- What lies in a house: stairwells, dwellings, households, residents. They have its placement, and answer to the micro-grid
-- that names them. A list changes far more often than a boundary, so that every way of changing one comes to the same
-- statement, a noun, for all the houses it touches; only what differs is written.

-- A household answers where its dwelling does and a resident where the household does, unless that is in another house. Where
-- neither stairwell nor floor is known, the micro-grid of the whole house is meant, which is the building's own scope. No
-- definer and nothing set, so that a load plans it as joins.
CREATE OR REPLACE FUNCTION place_in_house(of_building uuid, of_unit uuid, on_floor integer, of_dwelling uuid, of_household uuid)
RETURNS TABLE (scope text, placement integer)
LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT coalesce(h.scope, d.scope, m.path, b.scope), b.placement
    FROM buildings AS b
    LEFT JOIN LATERAL (
        SELECT path FROM micro_grid_of(b.id, of_unit, on_floor, b.scope) WHERE num_nonnulls(of_unit, on_floor) > 0) AS m ON true
    LEFT JOIN households AS h ON h.id = of_household AND h.building = b.id
    LEFT JOIN dwellings AS d ON d.id = of_dwelling AND d.building = b.id
    WHERE b.id = of_building
$$;

-- Before such a row is written. Arguments: the columns that say where in the house it lies, '' for what it does not say.
CREATE OR REPLACE FUNCTION row_inherited() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
DECLARE
    told constant jsonb := to_jsonb(NEW);
BEGIN
    -- One at a time in a house: whoever changes a list meanwhile would not see this row, nor this row the list.
    PERFORM FROM buildings WHERE id = NEW.building FOR NO KEY UPDATE;
    SELECT p.scope, p.placement INTO NEW.scope, NEW.placement FROM place_in_house(
        NEW.building, (told ->> TG_ARGV[0])::uuid, (told ->> TG_ARGV[1])::integer, (told ->> TG_ARGV[2])::uuid, (told ->> TG_ARGV[3])::uuid) AS p;
    IF NOT FOUND THEN
        NEW.scope := instance_prefix();  -- the foreign key refuses the row a moment later, by name
    END IF;
    RETURN NEW;
END
$$;

-- Place a noun's rows in some houses (NULL: in all) anew. `seat` as for row_inherited.
CREATE OR REPLACE FUNCTION replace_in_houses(noun regclass, seat text[], houses uuid[]) RETURNS integer
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
DECLARE
    changed integer;
BEGIN
    EXECUTE format($sql$
        UPDATE %1$s AS n SET scope = p.scope, placement = p.placement
        FROM (SELECT s.id, q.* FROM %1$s AS s, place_in_house(s.building, %2$s) AS q WHERE $1 IS NULL OR s.building = ANY ($1)) AS p
        WHERE n.id = p.id AND (n.scope, n.placement) IS DISTINCT FROM (p.scope, p.placement)
    $sql$, noun, (SELECT string_agg(CASE WHEN said = '' THEN 'NULL' ELSE format('s.%I', said) END, ', ' ORDER BY n)
                  FROM unnest(seat) WITH ORDINALITY AS told (said, n)))
    USING houses;
    GET DIAGNOSTICS changed = ROW_COUNT;
    RETURN changed;
END
$$;

-- After a house came to other hands, or something in it to another stairwell, floor, dwelling or household. Arguments: the
-- column that names the house, and those that matter.
CREATE OR REPLACE FUNCTION houses_moved() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
DECLARE
    touched uuid[];
BEGIN
    EXECUTE format($sql$
        SELECT ARRAY(SELECT house FROM stale AS o JOIN fresh AS n USING (id), unnest(ARRAY[o.%1$I, n.%1$I]) AS house
                     WHERE (%2$s) IS DISTINCT FROM (%3$s) GROUP BY house)
    $sql$, TG_ARGV[0], (SELECT string_agg(format('o.%I', name), ', ') FROM unnest(TG_ARGV[1:]) AS name),
        (SELECT string_agg(format('n.%I', name), ', ') FROM unnest(TG_ARGV[1:]) AS name)) INTO touched;
    PERFORM houses_settled(touched);
    RETURN NULL;
END
$$;
DROP FUNCTION IF EXISTS building_moved() CASCADE;

-- After lists that name some houses changed or came into force. A house that answers to a micro-grid already is placed anew:
-- where it would be without the list is not kept. Any other may be named as a whole now.
CREATE OR REPLACE FUNCTION houses_listed(houses uuid[]) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
BEGIN
    IF coalesce(cardinality(houses), 0) = 0 THEN
        RETURN;
    END IF;
    PERFORM pg_advisory_xact_lock(hashtext('houses'));  -- a load that does not see the list yet: it ends first
    UPDATE buildings SET stated_area = stated_area WHERE id = ANY (houses) AND length(scope) = path_width('micro_grid');
    UPDATE buildings AS n SET scope = m.path
    FROM buildings AS s, micro_grid_of(s.id, NULL, NULL, s.scope) AS m
    WHERE n.id = s.id AND s.id = ANY (houses) AND length(s.scope) < path_width('micro_grid');
    PERFORM houses_settled(houses);
END
$$;

CREATE OR REPLACE FUNCTION lists_settled(paths text[]) RETURNS void
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
    SELECT houses_listed(ARRAY(SELECT DISTINCT building FROM area_members WHERE area = ANY (paths) AND length(area) = path_width('micro_grid')))
$$;

CREATE OR REPLACE FUNCTION members_moved() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
DECLARE
    touched uuid[];
BEGIN
    IF TG_OP <> 'INSERT' THEN
        touched := ARRAY(SELECT DISTINCT building FROM stale WHERE length(area) = path_width('micro_grid'));
    END IF;
    IF TG_OP <> 'DELETE' THEN
        touched := touched || ARRAY(SELECT DISTINCT building FROM fresh WHERE length(area) = path_width('micro_grid'));
    END IF;
    PERFORM houses_listed(touched);
    RETURN NULL;
END
$$;

CREATE OR REPLACE TRIGGER e_came AFTER INSERT ON area_members REFERENCING NEW TABLE AS fresh
    FOR EACH STATEMENT EXECUTE FUNCTION members_moved();
CREATE OR REPLACE TRIGGER e_changed AFTER UPDATE ON area_members REFERENCING OLD TABLE AS stale NEW TABLE AS fresh
    FOR EACH STATEMENT EXECUTE FUNCTION members_moved();
CREATE OR REPLACE TRIGGER e_went AFTER DELETE ON area_members REFERENCING OLD TABLE AS stale
    FOR EACH STATEMENT EXECUTE FUNCTION members_moved();
