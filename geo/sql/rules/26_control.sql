-- What a zone affects, people and homes only to who works in the whole of it: the number of a shape that is no cell would tell
-- how many live between its edge and that of a grid (docs/decisions/0035). Of a zone that the caller may not see, nothing.
CREATE OR REPLACE FUNCTION zone_affected(zone uuid)
RETURNS TABLE (buildings bigint, buildings_inside bigint, buildings_straddling bigint, building_share double precision,
               units bigint, dwellings bigint, households bigint, residents bigint, entrances bigint)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
    WITH z AS (
        SELECT geom, caller_right() IN ('owner', 'direct', 'area', 'leader') AND caller_holds(scope) AS exact FROM zones
        WHERE id = zone AND retired_at IS NULL
          AND (caller_right() IN ('public', 'own', 'organisation') OR caller_holds(scope) OR id IN (SELECT features_here('zones')))
          AND (caller_right() IN ('owner', 'direct', 'area', 'leader') OR state <> 'draft')
    ), touched AS (
        SELECT b.id, b.households, b.residents,
            CASE WHEN ST_Covers(z.geom, b.geom) THEN 1 ELSE ST_Area(ST_Intersection(z.geom, b.geom)) / ST_Area(b.geom) END AS share
        FROM z JOIN buildings AS b ON b.geom && z.geom AND ST_Intersects(b.geom, z.geom) WHERE b.retired_at IS NULL
    ), counted AS (
        SELECT * FROM touched WHERE share > 1e-9
    )
    SELECT count(*), count(*) FILTER (WHERE share >= 1), count(*) FILTER (WHERE share < 1), coalesce(sum(share), 0),
        (SELECT count(*) FROM units WHERE building IN (SELECT id FROM counted) AND units.retired_at IS NULL),
        CASE WHEN exact THEN (SELECT count(*) FROM dwellings WHERE building IN (SELECT id FROM counted) AND dwellings.retired_at IS NULL) END,
        CASE WHEN exact THEN coalesce(sum(households), 0) END, CASE WHEN exact THEN coalesce(sum(residents), 0) END,
        (SELECT count(*) FROM entrances AS e WHERE e.geom && z.geom AND ST_Intersects(e.geom, z.geom) AND e.retired_at IS NULL)
    FROM z LEFT JOIN counted ON true GROUP BY z.geom, z.exact
$$;
