-- The trail: who looked at what, and every refusal. Appended by its own login, chained row to row, never altered.

CREATE OR REPLACE FUNCTION trail_appended(
    actor text, acting_as text, action text, noun text, feature text, scope text, purpose text, result text
) RETURNS bigint
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
DECLARE
    linked bytea;
    entry bigint;
    stamp timestamptz;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('trail'));
    SELECT hash INTO linked FROM trail ORDER BY id DESC LIMIT 1;
    linked := coalesce(linked, '\x');
    stamp := clock_timestamp();
    INSERT INTO trail (at, actor, acting_as, action, noun, feature, scope, purpose, result, previous, hash)
    VALUES (stamp, $1, $2, $3, $4, $5, $6, $7, $8, linked,
            sha256(linked || convert_to(jsonb_build_array(extract(epoch FROM stamp)::text, $1, $2, $3, $4, $5, $6, $7, $8)::text, 'UTF8')))
    RETURNING id INTO entry;
    RETURN entry;
END
$$;

CREATE OR REPLACE FUNCTION trail_kept() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    RAISE insufficient_privilege USING MESSAGE = 'the trail is append-only';
END
$$;

CREATE OR REPLACE TRIGGER trail_kept BEFORE UPDATE OR DELETE OR TRUNCATE ON trail
    FOR EACH STATEMENT EXECUTE FUNCTION trail_kept();

-- The first row whose hash or link does not follow from the one before it; none when the chain is whole.
CREATE OR REPLACE FUNCTION trail_broken() RETURNS bigint
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
    SELECT min(id) FROM (
        SELECT id, previous, hash, lag(hash, 1, '\x'::bytea) OVER (ORDER BY id) AS linked,
               sha256(previous || convert_to(jsonb_build_array(
                   extract(epoch FROM at)::text, actor, acting_as, action, noun, feature, scope, purpose, result)::text, 'UTF8')) AS due
        FROM trail
    ) AS chain
    WHERE previous <> linked OR hash <> due
$$;
