-- What addresses are understood by, beside the houses that the caller may see.

-- The names of areas and compounds, which everybody may know everywhere: who answers for one grid sees no area but that, and must
-- still understand which community an address is in, and that a compound of this name stands elsewhere.
CREATE OR REPLACE FUNCTION names_addressed() RETURNS TABLE (sort text, id uuid, scope text, name text, aliases text, address text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
    SELECT 'area', a.id, a.path, a.name, NULL, NULL FROM areas AS a
    WHERE a.name IS NOT NULL AND in_force(a.retired_at, a.valid_from, a.valid_to, now()) AND area_family(a.theme, a.kind) = 'governance'
    UNION ALL
    SELECT 'compound', c.id, c.scope, c.name, c.aliases, c.address FROM compounds AS c WHERE c.retired_at IS NULL
    ORDER BY 1, 2
$$;

-- What people have said that words of an address mean, for as long as it stands and where the caller answers for it.
CREATE OR REPLACE FUNCTION aliases_addressed() RETURNS TABLE (
    id uuid, text text, compound uuid, building uuid, unit uuid, dwelling uuid, scope text, source text, actor text, at timestamptz
)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
    SELECT * FROM (
        SELECT a.id AS alias, a.text, c.id AS compound, b.id AS building, u.id AS unit, d.id AS dwelling, coalesce(d.scope, u.scope, b.scope, c.scope) AS scope, a.source, a.actor, a.at
        FROM address_aliases AS a
        LEFT JOIN dwellings AS d ON d.id = a.dwelling AND d.retired_at IS NULL
        LEFT JOIN units AS u ON u.id = coalesce(a.unit, d.unit) AND u.retired_at IS NULL
        LEFT JOIN buildings AS b ON b.id = coalesce(a.building, u.building, d.building) AND b.retired_at IS NULL
        LEFT JOIN compounds AS c ON c.id = coalesce(a.compound, b.compound) AND c.retired_at IS NULL
        -- It goes with what it means, and that with its house.
        WHERE a.retired_at IS NULL AND CASE WHEN a.compound IS NOT NULL THEN c.id IS NOT NULL ELSE b.id IS NOT NULL
            AND (a.unit IS NULL OR u.id IS NOT NULL) AND (a.dwelling IS NULL OR d.id IS NOT NULL) END
    ) AS told
    WHERE caller_right() IN ('owner', 'area', 'leader') AND caller_holds(told.scope)
    ORDER BY told.alias
$$;

-- From now on these words mean that place; what they meant to the caller before, they mean no more. Raises no_data_found for a
-- place that is not there for the caller.
CREATE OR REPLACE FUNCTION address_aliased(words text, part text, target uuid, source text) RETURNS uuid
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
DECLARE
    place text := CASE part
        WHEN 'compound' THEN (SELECT c.scope FROM compounds AS c WHERE c.id = target AND c.retired_at IS NULL)
        WHEN 'building' THEN (SELECT b.scope FROM buildings AS b WHERE b.id = target AND b.retired_at IS NULL)
        WHEN 'unit' THEN (SELECT u.scope FROM units AS u WHERE u.id = target AND u.retired_at IS NULL)
        WHEN 'dwelling' THEN (SELECT d.scope FROM dwellings AS d WHERE d.id = target AND d.retired_at IS NULL) END;
    made uuid;
BEGIN
    IF caller_right() NOT IN ('owner', 'area', 'leader') OR NOT caller_may('write') THEN
        PERFORM refuse('no right to say what an address means');
    END IF;
    IF place IS NULL OR NOT caller_holds(place) THEN
        RAISE no_data_found USING MESSAGE = 'no such place';
    END IF;
    -- One after the other: of two who say it at once, the later is right.
    PERFORM pg_advisory_xact_lock(hashtext('address_aliases'), hashtext(words));
    SELECT a.id INTO made FROM address_aliases AS a
    WHERE a.text = words AND a.retired_at IS NULL AND target IN (a.compound, a.building, a.unit, a.dwelling);
    UPDATE address_aliases AS a SET retired_at = now()
    WHERE a.text = words AND a.retired_at IS NULL AND a.id IS DISTINCT FROM made
      AND a.id IN (SELECT t.id FROM aliases_addressed() AS t WHERE t.text = words);
    IF made IS NULL THEN
        INSERT INTO address_aliases (text, compound, building, unit, dwelling, source, actor, acting_as)
        VALUES (words, CASE part WHEN 'compound' THEN target END, CASE part WHEN 'building' THEN target END,
                CASE part WHEN 'unit' THEN target END, CASE part WHEN 'dwelling' THEN target END, $4, acting(), acting_as())
        RETURNING address_aliases.id INTO made;
    END IF;
    RETURN made;
END
$$;

-- These words mean nothing of their own any more. Raises no_data_found for what is not the caller's to say.
CREATE OR REPLACE FUNCTION address_alias_ended(wanted uuid) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
BEGIN
    IF NOT caller_may('write') THEN
        PERFORM refuse('no right to say what an address means');
    END IF;
    UPDATE address_aliases AS a SET retired_at = now()
    WHERE a.id = wanted AND a.id IN (SELECT t.id FROM aliases_addressed() AS t WHERE t.id = wanted);
    IF NOT FOUND THEN
        RAISE no_data_found USING MESSAGE = 'no such alias';
    END IF;
END
$$;
