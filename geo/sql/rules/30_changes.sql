-- What changed, by whom: journal, undo, versions, as-of and outbox are one table, written by trigger.

-- The web server binds the caller to its transaction, and at the door a function says whose account it is; whoever comes with a
-- login of their own is that login.
CREATE OR REPLACE FUNCTION acting() RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT CASE WHEN session_user IN ('jingwei_web', 'jingwei_loader', 'jingwei_door')
        THEN coalesce(nullif(current_setting('jingwei.actor', true), ''), session_user::text) ELSE session_user::text END
$$;

-- In which of its functions that caller acts, where from, and what for: said by the web server, and by nobody else who
-- could say anything.
CREATE OR REPLACE FUNCTION acting_as() RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT CASE WHEN session_user IN ('jingwei_web', 'jingwei_loader')
        THEN coalesce(current_setting('jingwei.acting_as', true), '') ELSE '' END
$$;

CREATE OR REPLACE FUNCTION origin() RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT CASE WHEN session_user IN ('jingwei_web', 'jingwei_loader')
        THEN coalesce(current_setting('jingwei.origin', true), '') ELSE coalesce(host(inet_client_addr()), '') END
$$;

CREATE OR REPLACE FUNCTION purpose() RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT CASE WHEN session_user IN ('jingwei_web', 'jingwei_loader')
        THEN coalesce(current_setting('jingwei.purpose', true), '') ELSE '' END
$$;

-- Arguments: the generated columns. They are computed after this trigger, so a row that stays the same would differ in them.
CREATE OR REPLACE FUNCTION row_versioned() RETURNS trigger
LANGUAGE plpgsql AS $$
DECLARE
    generated text;
    kept jsonb;
BEGIN
    NEW.id := OLD.id;
    FOREACH generated IN ARRAY coalesce(TG_ARGV::text[], '{}') LOOP
        EXECUTE format('SELECT jsonb_build_object(%1$L, ($1).%1$I)', generated) INTO kept USING OLD;
        NEW := jsonb_populate_record(NEW, kept);
    END LOOP;
    IF NEW IS DISTINCT FROM OLD THEN
        NEW.version := OLD.version + 1;
    END IF;
    RETURN NEW;
END
$$;

-- The batch that the loader is writing: a row that it changes stays of the batch that brought it, and the change is of this one.
CREATE OR REPLACE FUNCTION batch_now() RETURNS uuid
LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT CASE WHEN session_user = 'jingwei_loader' THEN nullif(current_setting('jingwei.batch', true), '')::uuid END
$$;

-- Arguments: the geometry columns, which go into the patch as EWKB because GeoJSON rounds.
-- A cipher goes in as hexadecimal, whatever the session prefers: a change of keys finds it there again.
CREATE OR REPLACE FUNCTION row_journalled() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET bytea_output = hex SET search_path = jingwei, public, pg_temp AS $$
DECLARE
    before jsonb;
    after jsonb;
    shape text;
    patch jsonb;
    done text := lower(TG_OP);
    columns constant text[] := ARRAY['placement', 'scope', 'placing_reason', 'nearest_area', 'nearest_m', 'geom_coarse', 'version'];
BEGIN
    IF TG_OP = 'INSERT' THEN
        INSERT INTO changes (actor, acting_as, noun, feature, operation, version, scope_after, batch)
        VALUES (acting(), acting_as(), TG_TABLE_NAME, NEW.id, 'add',
                NEW.version, NEW.scope, NEW.batch);
        RETURN NULL;
    END IF;
    IF TG_OP = 'DELETE' THEN
        -- Nothing of the row is kept: only destruction deletes.
        INSERT INTO changes (actor, noun, feature, operation, version, scope_before)
        VALUES (acting(), TG_TABLE_NAME, OLD.id, 'destroy', OLD.version, OLD.scope);
        RETURN NULL;
    END IF;
    IF NEW IS NOT DISTINCT FROM OLD THEN
        RETURN NULL;
    END IF;
    before := to_jsonb(OLD);
    after := to_jsonb(NEW);
    FOREACH shape IN ARRAY coalesce(TG_ARGV::text[], '{}') LOOP
        EXECUTE format('SELECT $1 || jsonb_build_object(%1$L, ($2).%1$I::text), $3 || jsonb_build_object(%1$L, ($4).%1$I::text)', shape)
        INTO before, after USING before, OLD, after, NEW;
    END LOOP;
    SELECT coalesce(jsonb_object_agg(key, value), '{}') INTO patch
    FROM jsonb_each(before) WHERE value IS DISTINCT FROM after -> key;
    done := CASE
        WHEN OLD.retired_at IS NULL AND NEW.retired_at IS NOT NULL THEN 'retire'
        WHEN OLD.retired_at IS NOT NULL AND NEW.retired_at IS NULL THEN 'restore'
        WHEN patch - columns = '{}' THEN 'place'
        ELSE 'change' END;
    INSERT INTO changes (actor, acting_as, noun, feature, operation, version, scope_before, scope_after, batch, patch)
    VALUES (acting(), acting_as(), TG_TABLE_NAME, NEW.id, done, NEW.version,
            OLD.scope, NEW.scope, coalesce(NULLIF(NEW.batch, OLD.batch), batch_now()), patch);
    RETURN NULL;
END
$$;

-- One change row for a whole batch: a row each made a load of a million 2.8 times slower.
CREATE OR REPLACE FUNCTION batch_journalled(noun text, loaded uuid, loaded_rows integer) RETURNS void
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
    UPDATE batches SET rows = rows + $3 WHERE id = $2;
    INSERT INTO changes (actor, noun, operation, scope_after, batch, patch)
    VALUES (acting(), $1, 'batch', instance_prefix(), $2, jsonb_build_object('rows', $3))
$$;

-- The relay: rows whose transaction was not over at the last look and is now. Polling by the highest id seen lost
-- 4.6 % of rows, and waiting for the oldest open writer stalled behind every import; this does neither. Returns the
-- layers that have a new version. Runs in one REPEATABLE READ transaction, by the worker only.
CREATE OR REPLACE FUNCTION relayed() RETURNS SETOF text
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
    WITH last AS (
        SELECT snapshot, number FROM relay FOR UPDATE
    ), fresh AS (
        SELECT changes.id, changes.noun, last.number + row_number() OVER (ORDER BY changes.xid, changes.id) AS number
        FROM changes, last
        WHERE changes.xid >= pg_snapshot_xmin(last.snapshot) AND NOT pg_visible_in_snapshot(changes.xid, last.snapshot)
          AND changes.number IS NULL
    ), numbered AS (
        UPDATE changes SET number = fresh.number FROM fresh WHERE changes.id = fresh.id
    ), moved AS (
        UPDATE relay SET snapshot = pg_current_snapshot(), number = coalesce((SELECT max(number) FROM fresh), relay.number)
    )
    INSERT INTO layer_versions (layer, version) SELECT noun, max(number) FROM fresh GROUP BY noun
    ON CONFLICT (layer) DO UPDATE SET version = excluded.version
    RETURNING layer
$$;

-- The clock: areas that came into force or ran out since it last struck. Whatever lies there or in the houses they name is
-- placed anew, so that those who answer from midnight on see it from midnight on.
CREATE OR REPLACE FUNCTION clock_struck() RETURNS integer
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
DECLARE
    since timestamptz;
    reach geometry;
    lists text[];
    done integer := 0;
BEGIN
    SELECT struck_at INTO since FROM relay FOR UPDATE;
    SELECT ST_Envelope(ST_Collect(geom)), array_agg(path) INTO reach, lists FROM areas
    WHERE (valid_from > since AND valid_from <= now()) OR (valid_to > since AND valid_to <= now());
    UPDATE relay SET struck_at = now();
    IF lists IS NULL THEN
        RETURN 0;
    END IF;
    -- Nobody has written anything, and the map is another.
    WITH numbered AS (UPDATE relay SET number = number + 1 RETURNING number)
    INSERT INTO layer_versions (layer, version) SELECT 'areas', number FROM numbered
    ON CONFLICT (layer) DO UPDATE SET version = excluded.version;
    PERFORM passed_on();
    IF reach IS NOT NULL THEN
        -- When a level gets its first areas or loses its last, everything must be found on another level.
        done := areas_settled(CASE WHEN placing_level(since) IS NOT DISTINCT FROM placing_level(now()) THEN reach END, NULL, NULL);
    END IF;
    PERFORM lists_settled(lists);
    RETURN done;
END
$$;
