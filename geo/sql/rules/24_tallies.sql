-- How much there is of what, in every area: kept as a sum for each path, and as the differences that are not in it yet.
--
-- A statement only adds rows, so that no two writers wait for each other; one process folds them in. Whoever reads takes both
-- in one snapshot, and so counts exactly what is there.

CREATE OR REPLACE FUNCTION tallies_folded() RETURNS integer
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
    WITH taken AS (
        DELETE FROM tally_changes RETURNING scope, noun, quantity, value
    ), risen AS (
        SELECT left(scope, width) COLLATE "C" AS path, noun, quantity, sum(value)::bigint AS value
        FROM taken CROSS JOIN unnest(ARRAY[0, 2, 4, 6, 9, 12, 15, 18]) AS width
        WHERE width <= length(scope)
        GROUP BY 1, 2, 3
    ), folded AS (
        INSERT INTO tallies (path, noun, quantity, value) SELECT path, noun, quantity, value FROM risen
        ON CONFLICT (path, noun, quantity) DO UPDATE SET value = tallies.value + excluded.value
    )
    SELECT count(*)::integer FROM taken
$$;

-- The sums of one area by noun and quantity, as they are at this moment.
CREATE OR REPLACE FUNCTION tallies_of(lo text) RETURNS jsonb
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
    SELECT coalesce(jsonb_object_agg(noun || '.' || quantity, value), '{}') FROM (
        SELECT noun, quantity, sum(value) AS value FROM (
            SELECT noun, quantity, value FROM tallies WHERE path = lo
            UNION ALL SELECT noun, quantity, value FROM tally_changes WHERE scope >= lo AND scope < lo || '~') AS known
        GROUP BY noun, quantity) AS summed
$$;
