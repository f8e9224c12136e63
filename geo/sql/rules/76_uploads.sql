-- Files on their way in. A web request leaves the file and a job in one transaction; the worker, as loader, does the rest. Whoever
-- sent a file sees what is in it and what it would change, and nobody else does.

-- A job for the worker. It is there when this transaction is, and not otherwise.
CREATE OR REPLACE FUNCTION job_deferred(task text, upload uuid) RETURNS void
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = jobs, pg_temp AS $$
    SELECT procrastinate_defer_jobs_v1(ARRAY[
        ROW('uploads', task, 0, upload::text, NULL, jsonb_build_object('upload', upload), NULL)::procrastinate_job_to_defer_v1])
$$;

-- The caller's own upload. Raises no_data_found for any other.
CREATE OR REPLACE FUNCTION upload_held(wanted uuid) RETURNS uploads
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
DECLARE
    held uploads;
BEGIN
    IF NOT caller_may('load') THEN
        PERFORM refuse('no right to load');
    END IF;
    SELECT * INTO held FROM uploads AS u WHERE u.id = wanted AND u.account = caller_account();
    IF held.id IS NULL THEN
        RAISE no_data_found USING MESSAGE = 'no such upload';
    END IF;
    RETURN held;
END
$$;

-- Everywhere, for who keeps the system and fills it first; else the areas of this appointment.
CREATE OR REPLACE FUNCTION upload_made(
    wanted uuid, name text, size bigint, digest bytea, file_key bytea, key text, choices jsonb
) RETURNS uuid
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
DECLARE
    mine appointments := caller_appointment();
    before uploads;
BEGIN
    IF caller_account() IS NULL OR NOT caller_may('load') THEN
        PERFORM refuse('no right to load');
    END IF;
    INSERT INTO uploads (id, account, appointment, actor, acting_as, within, key, name, size, digest, file_key_cipher, choices)
    VALUES ($1, caller_account(), mine.id, acting(), acting_as(),
            CASE WHEN caller_right() = 'public' THEN '{""}' ELSE areas_of(mine.id) END, $6, $2, $3, $4, $5, $7)
    ON CONFLICT ON CONSTRAINT uploads_key DO NOTHING;
    IF NOT FOUND THEN
        SELECT * INTO before FROM uploads AS u WHERE u.account = caller_account() AND u.key = $6;
        IF before.digest <> $4 THEN
            RAISE unique_violation USING MESSAGE = 'key used for another file', TABLE = 'uploads', CONSTRAINT = 'uploads_key';
        END IF;
        RETURN before.id;
    END IF;
    PERFORM job_deferred('read', $1);
    RETURN $1;
END
$$;

-- A file that comes bit by bit: what has come of it is told, so that it goes on from there after a network that broke.
CREATE OR REPLACE FUNCTION partial_begun(wanted uuid, name text, size bigint, file_key bytea) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
BEGIN
    IF caller_account() IS NULL OR NOT caller_may('load') THEN
        PERFORM refuse('no right to load');
    END IF;
    INSERT INTO partial_uploads (id, account, name, size, file_key_cipher) VALUES ($1, caller_account(), $2, $3, $4);
END
$$;

-- One's own, locked while a bit of it is written.
CREATE OR REPLACE FUNCTION partial_held(wanted uuid, locked boolean) RETURNS SETOF partial_uploads
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
BEGIN
    IF NOT caller_may('load') THEN
        PERFORM refuse('no right to load');
    END IF;
    IF locked THEN
        PERFORM FROM partial_uploads AS p WHERE p.id = wanted AND p.account = caller_account() FOR UPDATE;
    END IF;
    RETURN QUERY SELECT * FROM partial_uploads AS p WHERE p.id = wanted AND p.account = caller_account();
    IF NOT FOUND THEN
        RAISE no_data_found USING MESSAGE = 'no such file';
    END IF;
END
$$;

-- So much of it is here; all of it, and it is no longer partial.
CREATE OR REPLACE FUNCTION partial_taken(wanted uuid, taken bigint) RETURNS void
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
    UPDATE partial_uploads AS p SET taken = $2, at = now() WHERE p.id = $1 AND p.account = caller_account();
    DELETE FROM partial_uploads AS p WHERE p.id = $1 AND p.account = caller_account() AND p.taken = p.size
$$;

-- One step by its sender. Of two at once the second meets the state that the first has left.
CREATE OR REPLACE FUNCTION upload_moved(wanted uuid, step text, choices jsonb) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
DECLARE
    held uploads := upload_held(wanted);
    moves CONSTANT jsonb := '{"read": ["ready", "refused"], "apply": ["ready"], "undo": ["applied"]}';
BEGIN
    UPDATE uploads AS u SET
        state = CASE step WHEN 'read' THEN 'queued' WHEN 'apply' THEN 'applying' ELSE u.state END,
        undoing = (step = 'undo'), refusal = NULL, moved_at = now(), choices = coalesce($3, u.choices), done = 0
    WHERE u.id = held.id AND moves -> step ? u.state AND NOT u.undoing;
    IF NOT FOUND THEN
        RAISE unique_violation USING MESSAGE = 'not from this state', TABLE = 'uploads', CONSTRAINT = 'uploads_step_key';
    END IF;
    PERFORM job_deferred(step, held.id);
END
$$;

-- Given up: what was staged is dropped by the worker, what is in stays.
CREATE OR REPLACE FUNCTION upload_discarded(wanted uuid) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
DECLARE
    held uploads := upload_held(wanted);
BEGIN
    UPDATE uploads AS u SET state = 'failed', refusal = '{"sentence": "已放弃。"}', moved_at = now()
    WHERE u.id = held.id AND u.state IN ('queued', 'ready', 'refused');
    IF NOT FOUND THEN
        RAISE unique_violation USING MESSAGE = 'not from this state', TABLE = 'uploads', CONSTRAINT = 'uploads_step_key';
    END IF;
    PERFORM job_deferred('clear', held.id);
END
$$;

CREATE OR REPLACE FUNCTION uploads_told(wanted uuid, most integer) RETURNS TABLE (
    id uuid, name text, size bigint, state text, at timestamptz, moved_at timestamptz, undoing boolean, choices jsonb, noun text,
    done integer, expected integer, told jsonb, counts jsonb, refusal jsonb
)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
    SELECT u.id, u.name, u.size, u.state, u.at, u.moved_at, u.undoing, u.choices, u.noun, u.done, u.expected, u.told, u.counts, u.refusal
    FROM uploads AS u
    WHERE u.account = caller_account() AND caller_may('load') AND ($1 IS NULL OR u.id = $1)
    ORDER BY u.at DESC, u.id LIMIT $2
$$;

CREATE OR REPLACE FUNCTION upload_problems(wanted uuid, of_field text, of_reason text, after_row integer, most integer) RETURNS TABLE (
    "row" integer, field text, reason text, facts jsonb, value text, suggestion text, repaired boolean, record jsonb, lon double precision, lat double precision
)
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
    SELECT p.row, p.field, p.reason, p.facts, p.value, p.suggestion, p.repaired, p.record, p.lon, p.lat
    FROM upload_held($1) AS held JOIN load_problems AS p ON p.batch = held.id
    WHERE ($2 IS NULL OR p.field = $2) AND ($3 IS NULL OR p.reason = $3) AND p.row > $4
    ORDER BY p.row, p.field LIMIT $5
$$;

-- Staged rows with what is there now, both without what is secret and with names masked. Who keeps the system sees what the file
-- says and nothing of the town.
CREATE OR REPLACE FUNCTION upload_rows(wanted uuid, of_fate text, after_row integer, most integer) RETURNS TABLE (
    "row" integer, fate text, id uuid, fresh jsonb, before jsonb, lon double precision, lat double precision
)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
DECLARE
    held uploads := upload_held(wanted);
    shape text;
BEGIN
    IF to_regclass(staging_of(held.id)) IS NULL THEN
        RETURN;
    END IF;
    SELECT CASE WHEN count(*) > 0 THEN 'ST_X(ST_PointOnSurface(s.geom)), ST_Y(ST_PointOnSurface(s.geom))' ELSE 'NULL::float8, NULL::float8' END
    INTO shape FROM pg_attribute WHERE attrelid = staging_of(held.id)::regclass AND attname = 'geom' AND NOT attisdropped;
    RETURN QUERY EXECUTE format(
        'SELECT s.file_row, s.fate, CASE WHEN s.fate <> ''new'' THEN s.id END, row_shown(%1$L, to_jsonb(s)),'
        ' CASE WHEN s.fate IN (''changed'', ''conflict'') AND $4 THEN row_shown(%1$L, to_jsonb(t)) END, %4$s'
        ' FROM %2$s AS s LEFT JOIN %3$I AS t ON t.id = s.id'
        ' WHERE ($1 IS NULL OR s.fate = $1) AND (s.fate <> ''missing'' OR $4) AND s.file_row > $2 ORDER BY s.file_row LIMIT $3',
        held.noun, staging_of(held.id), held.noun, shape)
    USING of_fate, after_row, most, caller_right() <> 'public';
END
$$;

CREATE OR REPLACE FUNCTION staging_of(upload uuid) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT 'staging.u_' || replace(upload::text, '-', '')
$$;

-- A tile of what is staged: of many rows an even part, enough to see where they lie.
CREATE OR REPLACE FUNCTION upload_tile(wanted uuid, z integer, x integer, y integer) RETURNS bytea
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
DECLARE
    held uploads := upload_held(wanted);
    tile bytea;
BEGIN
    IF to_regclass(staging_of(held.id)) IS NULL OR NOT EXISTS (
        SELECT FROM pg_attribute WHERE attrelid = to_regclass(staging_of(held.id)) AND attname = 'geom' AND NOT attisdropped) THEN
        RETURN '';
    END IF;
    EXECUTE format(
        'SELECT ST_AsMVT(q, ''staged'') FROM ('
        ' SELECT s.file_row AS id, s.fate, ST_AsMVTGeom(ST_Transform(s.geom, 3857), ST_TileEnvelope($1, $2, $3)) AS geom'
        ' FROM %s AS s WHERE s.geom && ST_Transform(ST_TileEnvelope($1, $2, $3), 4326) AND s.file_row %% $4 = 0 AND (s.fate <> ''missing'' OR $5)'
        ') AS q WHERE geom IS NOT NULL', staging_of(held.id))
    INTO tile USING z, x, y, 1 + coalesce(held.expected, 0) / 20000, caller_right() <> 'public';
    RETURN tile;
END
$$;
