-- What the topology report asks for beyond plain statements. Findings are read as the caller: whoever may not see a row
-- is told nothing of it.

-- Column by column, because a reference to the whole row asks for the right to every column, which the public has not.
CREATE OR REPLACE FUNCTION in_force(retired_at timestamptz, valid_from timestamptz, valid_to timestamptz, moment timestamptz)
RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT retired_at IS NULL AND valid_from <= moment AND (valid_to IS NULL OR valid_to > moment)
$$;

-- The 10,000 m² unit grids and the professional grids are tessellations of their own beside the governed one: each is held
-- against its own kind only.
CREATE OR REPLACE FUNCTION area_family(theme text, kind text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE WHEN theme = 'governance' AND kind IN ('unit', 'thematic') THEN kind ELSE theme END
$$;

-- What the codes below an area begin with: its own, without the tail of zeros with which streets and districts often arrive.
CREATE OR REPLACE FUNCTION code_stem(code text, level text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = jingwei, public, pg_temp AS $$
    SELECT CASE WHEN substr(code, path_width(level) + 1) ~ '^0+$' THEN left(code, path_width(level)) ELSE code END
$$;

-- Codes that belonged to areas which are no more. As definer: retired rows are shown to nobody, their codes stay taken.
CREATE OR REPLACE FUNCTION codes_retired(wanted text, moment timestamptz) RETURNS TABLE (code text, path text, name text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
    SELECT DISTINCT ON (gone.code, gone.path) gone.code, gone.path, gone.name
    FROM areas AS gone
    WHERE gone.level = wanted AND gone.code IS NOT NULL
      AND NOT EXISTS (SELECT FROM areas AS still WHERE still.path = gone.path AND still.retired_at IS NULL
                      AND (still.valid_to IS NULL OR still.valid_to > moment))
    ORDER BY gone.code, gone.path, gone.valid_from DESC
$$;

-- A code for each area of a level that has none, by the instance's scheme: the code of the area above and a running number,
-- given in the order in which a map is read, rows from north to south and west to east within a row. A row is as high
-- as the middle one of its areas, because no two representative points share a latitude. Numbers go on above the highest
-- ever given and then fill what was never given; a retired one does not come back. Nothing is written.
CREATE OR REPLACE FUNCTION codes_proposed(wanted text, parent text, moment timestamptz)
RETURNS TABLE (area uuid, path text, name text, code text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
    WITH width AS (
        SELECT max(w) AS above FROM unnest(ARRAY[0, 2, 4, 6, 9, 12, 15]) AS w WHERE w < path_width(wanted)
    ), scheme AS (
        SELECT '^(' || (patterns ->> wanted) || ')$' AS pattern FROM code_schemes
        WHERE name = coalesce((SELECT code_scheme FROM instance), '6-3-3-3')
    ), standing AS (
        SELECT a.id, a.path, a.name, a.code, a.geom, a.label_point, left(a.path, width.above) AS above
        FROM areas AS a, width
        WHERE a.level = wanted AND area_family(a.theme, a.kind) = 'governance'
          AND in_force(a.retired_at, a.valid_from, a.valid_to, moment) AND a.path ^@ coalesce(parent, '')
    ), stems AS (
        SELECT blank.above, coalesce(
            (SELECT code_stem(p.code, p.level) FROM areas AS p
             WHERE p.scope = blank.above AND in_force(p.retired_at, p.valid_from, p.valid_to, moment)),
            CASE WHEN blank.above = instance_prefix() THEN blank.above END) AS stem
        FROM standing AS blank WHERE blank.code IS NULL GROUP BY blank.above
    ), sized AS (
        SELECT stems.above, stems.stem, min(digits) AS digits FROM stems, scheme, generate_series(1, 4) AS digits
        WHERE stems.stem || lpad('1', digits, '0') ~ scheme.pattern GROUP BY stems.above, stems.stem
    ), taken AS (
        SELECT areas.code FROM areas WHERE areas.code IS NOT NULL
        UNION SELECT patch ->> 'code' FROM changes WHERE noun = 'areas' AND patch ? 'code'
    ), numbers AS (
        SELECT sized.above, n, sized.stem || lpad(n::text, digits, '0') AS code
        FROM sized, generate_series(1, (10 ^ digits)::integer - 1) AS n
    ), free AS (
        SELECT numbers.above, numbers.code, row_number() OVER (
            PARTITION BY numbers.above ORDER BY numbers.n > coalesce(highest.n, 0) DESC, numbers.n) AS rank
        FROM numbers LEFT JOIN (
            SELECT numbers.above, max(numbers.n) AS n FROM numbers JOIN taken USING (code) GROUP BY numbers.above
        ) AS highest USING (above), scheme
        WHERE numbers.code ~ scheme.pattern AND NOT EXISTS (SELECT FROM taken WHERE taken.code = numbers.code)
    ), sheets AS (
        SELECT above, max(ST_YMax(geom)) AS north,
            nullif(percentile_cont(0.5) WITHIN GROUP (ORDER BY ST_YMax(geom) - ST_YMin(geom)), 0) AS height
        FROM standing GROUP BY above
    ), blanks AS (
        SELECT standing.*, row_number() OVER (PARTITION BY standing.above ORDER BY
            floor((north - ST_Y(label_point)) / height), ST_X(label_point), standing.path) AS rank
        FROM standing JOIN sheets USING (above) WHERE standing.code IS NULL
    )
    SELECT blanks.id, blanks.path, blanks.name, free.code
    FROM blanks LEFT JOIN free ON free.above = blanks.above AND free.rank = blanks.rank
    ORDER BY blanks.path
$$;

GRANT SELECT ON code_schemes TO jingwei_public, jingwei_own, jingwei_partner, jingwei_partner_several, jingwei_area, jingwei_area_several,
    jingwei_organisation, jingwei_organisation_several, jingwei_loader;
