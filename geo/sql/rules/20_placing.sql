-- Placing: the heart. Every feature with a place is put into the area of each level that covers it.
--
-- One rule for edges, so that the answer never depends on row order: of several areas that a point is on the
-- boundary of, the one with the smallest path. A computed edge point may miss all of them by 1e-14 degrees
-- (498 of 60,000 did); within 1e-7 degrees, about a centimetre, it counts as on the edge.

-- Distances and areas in metres: CGCS2000 3-degree Gauss-Krueger by central meridian; UTM outside 73.5–136.5 E.
CREATE OR REPLACE FUNCTION metric_srid(place geometry) RETURNS integer
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE SET search_path = public, pg_temp AS $$
    SELECT CASE
        WHEN lon BETWEEN 73.5 AND 136.5 AND lat BETWEEN 0 AND 60 THEN 4534 + round((lon - 75) / 3)::integer
        WHEN lat >= 0 THEN 32601 + least(59, floor((lon + 180) / 6)::integer)
        ELSE 32701 + least(59, floor((lon + 180) / 6)::integer)
    END
    FROM (SELECT (ST_XMin(place) + ST_XMax(place)) / 2 AS lon, (ST_YMin(place) + ST_YMax(place)) / 2 AS lat) AS middle
$$;

-- The deepest level that a record must be found on: the deepest at which there are areas at all. Level by level and no further: as one
-- statement the planner read every area there is into a hash, 1.7 ms of each report over 10,200 grids.
CREATE OR REPLACE FUNCTION placing_level(moment timestamptz) RETURNS text
LANGUAGE plpgsql STABLE SECURITY DEFINER SET enable_seqscan = off SET search_path = jingwei, public, pg_temp AS $$
DECLARE
    wanted text;
BEGIN
    FOREACH wanted IN ARRAY ARRAY['grid', 'community', 'street', 'district', 'city', 'province'] LOOP
        IF EXISTS (SELECT FROM areas AS a WHERE a.level = wanted AND a.theme = 'governance' AND a.retired_at IS NULL
                   AND a.kind NOT IN ('unit', 'thematic') AND a.geom IS NOT NULL
                   AND a.valid_from <= moment AND (a.valid_to IS NULL OR a.valid_to > moment)) THEN
            RETURN wanted;
        END IF;
    END LOOP;
    RETURN NULL;
END
$$;

CREATE OR REPLACE FUNCTION area_holds(area areas, moment timestamptz) RETURNS boolean
LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT area.theme = 'governance' AND area.kind NOT IN ('unit', 'thematic') AND area.retired_at IS NULL
        AND area.valid_from <= moment AND (area.valid_to IS NULL OR area.valid_to > moment)
$$;

-- One row a level: the area that a point is in at a moment, and whether the point lay on an edge or in an overlap. In plpgsql, as is
-- what else is asked once a report, because its plan is kept: a function in SQL is planned at every call.
CREATE OR REPLACE FUNCTION areas_at(place geometry, moment timestamptz)
RETURNS TABLE (level text, area uuid, path text, reason text)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET enable_seqscan = off SET search_path = jingwei, public, pg_temp AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    WITH near AS MATERIALIZED (
        -- How near it is to an edge is asked of the few that do not cover it, and of none that do.
        SELECT areas.level, areas.id, areas.path, areas.geom, held.covers
        FROM areas CROSS JOIN LATERAL (SELECT ST_Covers(areas.geom, place) AS covers OFFSET 0) AS held
        WHERE areas.geom && ST_Expand(place, 1e-7) AND area_holds(areas, moment) AND (held.covers OR ST_DWithin(areas.geom, place, 1e-7))
    ), ranked AS (
        SELECT near.level, near.covers, count(*) AS areas,
            (array_agg(near.id ORDER BY near.path COLLATE "C"))[1] AS id,
            min(near.path COLLATE "C") AS path
        FROM near GROUP BY near.level, near.covers
    )
    SELECT DISTINCT ON (ranked.level) ranked.level, ranked.id, ranked.path,
        CASE WHEN NOT ranked.covers THEN 'edge' WHEN ranked.areas > 1 THEN CASE WHEN (
            SELECT bool_or(ST_Contains(n.geom, place)) FROM near AS n WHERE n.level = ranked.level AND n.covers) THEN 'overlap' ELSE 'edge' END END
    FROM ranked ORDER BY ranked.level, ranked.covers DESC;
END
$$;

-- The number of a placement: one area version a level. A few thousand rows serve any number of records.
CREATE OR REPLACE FUNCTION placement_of(
    province uuid, city uuid, district uuid, street uuid, community uuid, grid uuid, micro_grid uuid, path text
) RETURNS integer
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET enable_seqscan = off SET search_path = jingwei, public, pg_temp AS $$
DECLARE
    number integer;
BEGIN
    LOOP
        -- By the path, which has an index: no index answers whether something is not distinct from nothing.
        SELECT id INTO number FROM placements AS p
        WHERE p.path = $8 AND p.province IS NOT DISTINCT FROM $1 AND p.city IS NOT DISTINCT FROM $2 AND p.district IS NOT DISTINCT FROM $3
          AND p.street IS NOT DISTINCT FROM $4 AND p.community IS NOT DISTINCT FROM $5 AND p.grid IS NOT DISTINCT FROM $6
          AND p.micro_grid IS NOT DISTINCT FROM $7;
        EXIT WHEN FOUND;
        INSERT INTO placements (province, city, district, street, community, grid, micro_grid, path)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT ON CONSTRAINT placements_areas_key DO NOTHING;
    END LOOP;
    RETURN number;
END
$$;

-- The nearest area of a level and the metres to it; of areas equally near to the millimetre, the one with the smallest
-- path, as geo/raster.py has it. Nearest in World Mercator, which is conformal: degrees favour north and south, and the
-- distance from a geography to a polygon was up to 0.1 % too long. What is nearest in degrees bounds where to look.
CREATE OR REPLACE FUNCTION nearest_area(place geometry, wanted text, moment timestamptz)
RETURNS TABLE (area uuid, path text, name text, metres double precision)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
    WITH reach AS (
        SELECT ST_Distance(areas.geom, place) AS degrees FROM areas
        WHERE areas.level = wanted AND area_holds(areas, moment) AND areas.geom IS NOT NULL
        ORDER BY areas.geom <-> place LIMIT 1
    ), close AS MATERIALIZED (
        SELECT areas.id, areas.path, areas.name, ST_Boundary(ST_Transform(areas.geom, 3395)) AS shape,
               ST_Transform(place, 3395) AS point
        FROM areas, reach
        WHERE areas.level = wanted AND area_holds(areas, moment)
          AND ST_DWithin(areas.geom, place, 1.01 * degrees / cos(radians(least(abs(ST_Y(place)) + degrees, 89))))
    ), ranked AS (
        SELECT close.*, ST_Distance(shape, point) AS far, min(ST_Distance(shape, point)) OVER () AS least FROM close
    )
    SELECT id, path, name, ST_Distance(ST_Transform(ST_ClosestPoint(shape, point), 4326)::geography, place::geography)
    FROM ranked WHERE far <= least + 0.001 ORDER BY path LIMIT 1
$$;

-- Where a point is: its placement (the areas of its own time), the path of who answers for it now, the reason for
-- a second look, and the nearest area when it is in none.
CREATE OR REPLACE FUNCTION place_point(
    place geometry, moment timestamptz, "precision" text, stated text,
    OUT placement integer, OUT scope text, OUT reason text, OUT nearest uuid, OUT nearest_m double precision
)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
DECLARE
    root text := instance_prefix();
    wanted text := placing_level(moment);
    found jsonb;
    deepest text;
    paths text[];
    claimed text;
BEGIN
    scope := root;
    -- No point, an empty one, or one that the table is about to refuse.
    IF NOT coalesce(ST_X(place) BETWEEN -180 AND 180 AND ST_Y(place) BETWEEN -90 AND 90, false) THEN
        scope := stated_now(stated);
        reason := 'imprecise';
        RETURN;
    END IF;
    SELECT jsonb_object_agg(level, area), (array_agg(path ORDER BY length(path) DESC))[1],
           (array_agg(a.reason) FILTER (WHERE level = wanted))[1], array_agg(path)
    INTO found, deepest, reason, paths FROM areas_at(place, moment) AS a;
    IF found IS NOT NULL THEN
        placement := placement_of(
            (found ->> 'province')::uuid, (found ->> 'city')::uuid, (found ->> 'district')::uuid, (found ->> 'street')::uuid,
            (found ->> 'community')::uuid, (found ->> 'grid')::uuid, (found ->> 'micro_grid')::uuid, deepest);
        scope := coalesce(
            CASE WHEN moment < now() THEN (SELECT path FROM areas_at(place, now()) ORDER BY length(path) DESC LIMIT 1) END,
            deepest);
    END IF;
    IF "precision" = 'region' THEN
        reason := 'imprecise';
        scope := stated_now(stated);
        RETURN;
    END IF;
    IF wanted IS NULL OR found ? wanted THEN
        IF stated IS NOT NULL THEN
            SELECT path INTO claimed FROM areas_named(stated, moment) AS said
            ORDER BY (deepest ^@ said.path OR said.path ^@ deepest) DESC, said.path LIMIT 1;
            IF claimed IS NOT NULL AND NOT (deepest ^@ claimed OR claimed ^@ deepest OR claimed = ANY (paths)) THEN
                reason := 'contradiction';
                scope := greatest(path_above(scope, claimed), root);
            END IF;
        END IF;
        RETURN;
    END IF;
    reason := 'outside';
    SELECT area, metres INTO nearest, nearest_m FROM nearest_area(place, wanted, moment);
END
$$;

-- The point shown to those who may not see the exact one: that of the area it lies in, the same at every reading.
-- VOLATILE, because the placement may have been made by the statement that asks.
CREATE OR REPLACE FUNCTION coarse_point(placement integer, level text, place geometry) RETURNS geometry
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET enable_seqscan = off SET search_path = jingwei, public, pg_temp AS $$
#variable_conflict use_variable
BEGIN
    RETURN coalesce(
        (SELECT a.label_point FROM placements AS p
         JOIN areas AS a ON a.id IN (p.grid, p.community, p.street, p.district)
         WHERE p.id = placement AND length(a.path) <= path_width(level) ORDER BY length(a.path) DESC LIMIT 1),
        ST_SnapToGrid(place, 0.05));
END
$$;

-- Before a row with a point of its own is written. Arguments: the field whose time counts, the level of coarseness.
CREATE OR REPLACE FUNCTION row_placed() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
DECLARE
    moment timestamptz;
    answer record;
BEGIN
    IF TG_ARGV[0] <> '' THEN
        EXECUTE format('SELECT ($1).%I', TG_ARGV[0]) INTO moment USING NEW;
    END IF;
    SELECT * INTO answer FROM place_point(
        ST_PointOnSurface(NEW.geom), coalesce(moment, now()), NEW.precision, nullif(btrim(NEW.stated_area), ''));
    NEW.placement := answer.placement;
    NEW.scope := answer.scope;
    IF TG_TABLE_NAME = 'buildings' THEN
        NEW.scope := coalesce((SELECT path FROM micro_grid_of(NEW.id, NULL, NULL, answer.scope)), answer.scope);
    END IF;
    NEW.placing_reason := answer.reason;
    NEW.nearest_area := answer.nearest;
    NEW.nearest_m := answer.nearest_m;
    IF TG_ARGV[1] <> '' THEN
        NEW.geom_coarse := coarse_point(NEW.placement, TG_ARGV[1], NEW.geom);
    END IF;
    RETURN NEW;
END
$$;

-- A polygon or line answers to the smallest area that holds all of it.
CREATE OR REPLACE FUNCTION scope_of_shape(shape geometry) RETURNS text
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
    SELECT coalesce(
        (SELECT path FROM areas WHERE geom && shape AND area_holds(areas, now()) AND ST_Covers(geom, shape)
         ORDER BY length(path) DESC, path LIMIT 1),
        instance_prefix())
$$;

CREATE OR REPLACE FUNCTION row_scoped() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
BEGIN
    NEW.scope := scope_of_shape(NEW.geom);
    IF NEW.precision = 'region' THEN
        NEW.placing_reason := 'imprecise';
    ELSIF NOT EXISTS (SELECT FROM areas WHERE geom && NEW.geom AND area_holds(areas, now())
                      AND level = placing_level(now()) AND ST_Intersects(geom, NEW.geom)) THEN
        NEW.placing_reason := 'outside';
    ELSE
        NEW.placing_reason := NULL;
    END IF;
    RETURN NEW;
END
$$;

-- Every area that a polygon or line touches: how much of the feature lies there, and how much of the area it covers.
-- Measured on the local Gauss-Krueger plane. Touching along an edge only is no share.
CREATE OR REPLACE FUNCTION shares_of(shape geometry)
RETURNS TABLE (area uuid, measure double precision, share double precision, area_share double precision)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
    WITH plane AS (
        SELECT metric_srid(shape) AS srid
    ), whole AS (
        SELECT srid, CASE WHEN ST_Dimension(shape) = 2 THEN ST_Area(ST_Transform(shape, srid))
                          ELSE ST_Length(ST_Transform(shape, srid)) END AS size FROM plane
    ), piece AS (
        SELECT areas.id, ST_Area(ST_Transform(areas.geom, whole.srid)) AS area_size, whole.size,
               ST_Transform(ST_Intersection(areas.geom, shape), whole.srid) AS part
        FROM areas, whole
        WHERE areas.geom && shape AND area_holds(areas, now()) AND ST_Intersects(areas.geom, shape)
    ), sized AS (
        SELECT id, area_size, size, CASE WHEN ST_Dimension(shape) = 2 THEN ST_Area(part) ELSE ST_Length(part) END AS inside
        FROM piece
    )
    SELECT id, inside, least(1, inside / nullif(size, 0)),
           CASE WHEN ST_Dimension(shape) = 2 THEN least(1, inside / nullif(area_size, 0)) ELSE 0 END
    FROM sized WHERE inside > 1e-6
$$;

CREATE OR REPLACE FUNCTION row_shared() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
DECLARE
    of_noun constant text := TG_TABLE_NAME;
BEGIN
    DELETE FROM area_shares WHERE noun = of_noun AND feature = coalesce(NEW.id, OLD.id);
    IF TG_OP <> 'DELETE' THEN
        INSERT INTO area_shares (noun, feature, area, measure, share, area_share, path)
        SELECT TG_TABLE_NAME, NEW.id, s.*, areas.path FROM shares_of(NEW.geom) AS s JOIN areas ON areas.id = s.area;
    END IF;
    RETURN NULL;
END
$$;

-- Re-place the points of a noun that lie within reach and whose moment falls into the stretch, writing only what
-- differs. Arguments: the field whose time counts and the level of coarseness, as for row_placed.
CREATE OR REPLACE FUNCTION replace_points(
    noun regclass, moment text, coarse text, reach geometry, since timestamptz, until timestamptz
) RETURNS integer
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
DECLARE
    changed integer;
BEGIN
    EXECUTE format($sql$
        WITH p AS MATERIALIZED (
            SELECT s.id, q.placement, %5$s AS scope, q.reason, q.nearest, q.nearest_m
            FROM %1$s AS s, place_point(ST_PointOnSurface(s.geom), coalesce(%2$s, now()), s.precision,
                                        nullif(btrim(s.stated_area), '')) AS q
            -- What lies in no area has its nearest from afar: 50 km is less than a degree anywhere people live.
            WHERE s.retired_at IS NULL AND ($1 IS NULL OR s.geom && $1
                OR (s.placing_reason = 'outside' AND s.geom && ST_Expand($1, s.nearest_m / 50000)))
              AND coalesce(%2$s, now()) >= coalesce($2, '-infinity') AND coalesce(%2$s, now()) < coalesce($3, 'infinity')
        )
        UPDATE %1$s AS n SET placement = p.placement, scope = p.scope, placing_reason = p.reason,
            nearest_area = p.nearest, nearest_m = p.nearest_m %3$s
        FROM p
        WHERE n.id = p.id AND ((n.placement, n.scope, n.placing_reason, n.nearest_area)
              IS DISTINCT FROM (p.placement, p.scope, p.reason, p.nearest)
              OR abs(n.nearest_m - p.nearest_m) > 1 %4$s)
    $sql$, noun, CASE WHEN moment = '' THEN 'NULL::timestamptz' ELSE format('s.%I', moment) END,
        CASE WHEN coarse = '' THEN '' ELSE format(', geom_coarse = coarse_point(p.placement, %L, n.geom)', coarse) END,
        CASE WHEN coarse = '' THEN ''
             ELSE format('OR n.geom_coarse IS DISTINCT FROM coarse_point(p.placement, %L, n.geom)', coarse) END,
        CASE WHEN noun = 'buildings'::regclass
             THEN 'coalesce((SELECT path FROM micro_grid_of(s.id, NULL, NULL, q.scope)), q.scope)' ELSE 'q.scope' END)
    USING reach, since, until;
    GET DIAGNOSTICS changed = ROW_COUNT;
    RETURN changed;
END
$$;
