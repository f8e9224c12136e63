-- After areas were drawn, moved, withdrawn or renamed by hand: re-place what lies there, or near, or names them. The first
-- or last areas of a level change on which level everything must be found, so then everything is looked at. A new name
-- that records far away have stated all along is for `jingwei place`: to look for those would mean reading every record.
CREATE OR REPLACE FUNCTION areas_written() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
DECLARE
    reach geometry;
    touched uuid[];
    levels text[];
    names text[];
    lists text[];
BEGIN
    IF TG_OP = 'INSERT' THEN
        SELECT ST_Extent(geom), array_agg(id), array_agg(DISTINCT level), array_agg(name) || array_agg(code) || array_agg(path), array_agg(path)
        INTO reach, touched, levels, names, lists FROM fresh;
    ELSIF TG_OP = 'DELETE' THEN
        SELECT ST_Extent(geom), array_agg(id), array_agg(DISTINCT level), array_agg(name) || array_agg(code) || array_agg(path), array_agg(path)
        INTO reach, touched, levels, names, lists FROM stale;
    ELSE
        WITH moved AS (
            SELECT id, o.path, o.level, n.level AS to_level, ST_Collect(o.geom, n.geom) AS geom FROM stale AS o JOIN fresh AS n USING (id)
            WHERE (o.geom, o.valid_from, o.valid_to, o.retired_at, o.level, o.kind, o.theme)
                IS DISTINCT FROM (n.geom, n.valid_from, n.valid_to, n.retired_at, n.level, n.kind, n.theme)
        )
        SELECT ST_Extent(geom), array_agg(id), array_agg(DISTINCT level) || array_agg(DISTINCT to_level), array_agg(path)
        INTO reach, touched, levels, lists FROM moved;
        SELECT array_agg(o.name) || array_agg(o.code) || array_agg(n.name) || array_agg(n.code) || array_agg(n.path) INTO names
        FROM stale AS o JOIN fresh AS n USING (id)
        WHERE (o.name, o.code, o.valid_from, o.valid_to, o.retired_at)
            IS DISTINCT FROM (n.name, n.code, n.valid_from, n.valid_to, n.retired_at);
    END IF;
    IF EXISTS (SELECT FROM unnest(levels) AS l (level) WHERE NOT EXISTS (
        SELECT FROM areas WHERE areas.level = l.level AND area_holds(areas, now()) AND id <> ALL (touched)))
    THEN
        PERFORM areas_settled(NULL, NULL, NULL);
    ELSE
        IF reach IS NOT NULL THEN
            PERFORM areas_settled(ST_SetSRID(reach, 4326), NULL, NULL);
        END IF;
        IF names IS NOT NULL THEN
            PERFORM claims_settled(names || ARRAY(SELECT regexp_replace(name, '(社区|街道|村)$', '') FROM unnest(names) AS name));
        END IF;
    END IF;
    PERFORM lists_settled(lists);
    RETURN NULL;
END
$$;

-- What has no place but names its area answers where that is.
CREATE OR REPLACE FUNCTION area_scoped() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    NEW.scope := coalesce(NEW.area, '');  -- without an area it is refused by that name
    RETURN NEW;
END
$$;

-- What is in an area, for its card and for sums: buildings, homes, people, things. Records located only to a region are
-- no location and are not counted.
CREATE OR REPLACE FUNCTION area_counts(lo text)
RETURNS TABLE (buildings bigint, dwellings bigint, households bigint, residents bigint, non_local bigint,
               facilities bigint, parts bigint, organisations bigint, incidents bigint, open_incidents bigint)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
    SELECT coalesce((t ->> 'buildings.located')::bigint, 0),
        coalesce((t ->> 'dwellings.rows')::bigint, 0),
        coalesce((t ->> 'buildings.households')::bigint, 0),
        coalesce((t ->> 'buildings.residents')::bigint, 0),
        coalesce((t ->> 'buildings.non_local')::bigint, 0),
        coalesce((t ->> 'facilities.located')::bigint, 0),
        coalesce((t ->> 'parts.located')::bigint, 0),
        coalesce((t ->> 'organisations.located')::bigint, 0),
        coalesce((t ->> 'incidents.located')::bigint, 0),
        coalesce((t ->> 'incidents.open_located')::bigint, 0)
    FROM tallies_of(lo) AS t
$$;

-- How many buildings or incidents the caller may see: the public all of them, who answers for areas those in them. Of no other
-- noun: this answers as definer, and how many people are on file is not for everybody.
CREATE OR REPLACE FUNCTION tally_here(of_noun text, of_quantity text) RETURNS bigint
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
    SELECT coalesce(sum((tallies_of(path) ->> (of_noun || '.' || of_quantity))::bigint), 0)::bigint
    FROM unnest(CASE WHEN caller_right() IN ('partner', 'area', 'leader')
        THEN string_to_array(current_setting('jingwei.scopes', true), ',') ELSE '{""}' END) AS path
    WHERE of_noun IN ('buildings', 'incidents')
$$;

DROP FUNCTION IF EXISTS enough(bigint, boolean);
-- How many people and homes of an area are told to those who do not work there: the sum of what is told of its cells, which
-- are its grids and whatever lies in a wider area and in no grid. Of a cell that is the nearest multiple of k, and of fewer than
-- k nothing, so that none is not told from a few. Thus a sum tells nothing that its parts do not, and no part follows from it
-- (docs/decisions/0035). Of less than a grid nothing is told.
CREATE OR REPLACE FUNCTION persons_told(lo text)
RETURNS TABLE (dwellings bigint, households bigint, residents bigint, non_local bigint)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
    WITH known AS (
        SELECT path, quantity, value FROM tallies
        WHERE path >= lo AND path < lo || '~' AND length(path) <= 15
          AND (noun, quantity) IN (('dwellings', 'rows'), ('buildings', 'households'), ('buildings', 'residents'), ('buildings', 'non_local'))
        UNION ALL
        SELECT left(scope, width) COLLATE "C", quantity, value
        FROM tally_changes CROSS JOIN unnest(ARRAY[0, 2, 4, 6, 9, 12, 15]) AS width
        WHERE scope >= lo AND scope < lo || '~' AND width BETWEEN length(lo) AND length(scope)
          AND (noun, quantity) IN (('dwellings', 'rows'), ('buildings', 'households'), ('buildings', 'residents'), ('buildings', 'non_local'))
    ), apart AS (
        -- A sum less those of the areas in it is what lies in none of them.
        SELECT path, quantity, value FROM known
        UNION ALL
        SELECT left(path, (ARRAY[0, 2, 4, 6, 9, 12])[array_position(ARRAY[2, 4, 6, 9, 12, 15], length(path))]) COLLATE "C", quantity, -value
        FROM known WHERE length(path) > length(lo)
    ), cells AS (
        SELECT quantity, sum(value)::bigint AS number FROM apart GROUP BY path, quantity
    ), told AS (
        SELECT quantity, CASE WHEN number < few.k THEN 0 ELSE (number + few.k / 2) / few.k * few.k END AS value
        FROM cells CROSS JOIN (SELECT k FROM instance) AS few
    )
    SELECT nullif(sum(value) FILTER (WHERE quantity = 'rows'), 0)::bigint, nullif(sum(value) FILTER (WHERE quantity = 'households'), 0)::bigint,
        nullif(sum(value) FILTER (WHERE quantity = 'residents'), 0)::bigint, nullif(sum(value) FILTER (WHERE quantity = 'non_local'), 0)::bigint
    FROM told
$$;

-- What is in an area as told: to who works in it as it is, to anybody else people and homes as above, NULL for too few.
CREATE OR REPLACE FUNCTION area_counts_told(lo text)
RETURNS TABLE (buildings bigint, dwellings bigint, households bigint, residents bigint, non_local bigint,
               facilities bigint, parts bigint, organisations bigint, incidents bigint, open_incidents bigint)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
    SELECT c.buildings, p.dwellings, p.households, p.residents, p.non_local, c.facilities, c.parts, c.organisations, c.incidents, c.open_incidents
    FROM area_counts(lo) AS c,
        (SELECT coalesce(caller_right() IN ('owner', 'direct', 'area', 'leader') AND caller_holds(lo), false) AS exact) AS asked,
        LATERAL (
            SELECT c.dwellings, c.households, c.residents, c.non_local WHERE exact
            UNION ALL SELECT * FROM persons_told(lo) WHERE NOT exact
        ) AS p
$$;

-- The name of an area for whoever may not read its row: which areas there are, and where, everybody may know.
CREATE OR REPLACE FUNCTION area_title(wanted text) RETURNS text
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
BEGIN
    RETURN (SELECT name FROM areas WHERE scope = wanted AND retired_at IS NULL
    ORDER BY valid_from <= now() AND (valid_to IS NULL OR valid_to > now()) DESC, valid_from DESC LIMIT 1);
END
$$;

-- Who answers for some areas now, those of stairwells left out. Everybody may know that there is somebody; the name in full
-- is for those who work in that very area.
CREATE OR REPLACE FUNCTION posts_told(paths text[])
RETURNS TABLE (id uuid, role text, area text, area_name text, holder text, deputy text, organisation text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
    SELECT p.id, p.role, p.area, area_title(p.area), CASE WHEN here.holds THEN p.holder ELSE p.holder_masked END,
        CASE WHEN here.holds THEN p.deputy ELSE p.deputy_masked END, o.name
    FROM posts AS p LEFT JOIN organisations AS o ON o.id = p.organisation,
        LATERAL (SELECT caller_right() IN ('area', 'leader') AND caller_holds(p.area) AS holds) AS here
    WHERE p.area = ANY (paths) AND p.unit IS NULL AND p.retired_at IS NULL
      AND (p.starts_at IS NULL OR p.starts_at <= now()) AND (p.ends_at IS NULL OR p.ends_at > now())
$$;

-- The first of some levels at which there are areas now: what a map draws in place of a level that nobody has.
CREATE OR REPLACE FUNCTION first_level(levels text[]) RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
    SELECT level FROM unnest(levels) WITH ORDINALITY AS l (level, n)
    WHERE EXISTS (SELECT FROM areas WHERE areas.level = l.level AND area_holds(areas, now()) AND areas.geom IS NOT NULL)
    ORDER BY n LIMIT 1
$$;
