-- What changed, by whom: journal, undo, versions, as-of and outbox are one table, written by trigger.

-- The web server binds the caller to its transaction; whoever comes with a login of their own is that login.
CREATE OR REPLACE FUNCTION acting() RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT CASE WHEN session_user IN ('jingwei_web', 'jingwei_loader')
        THEN coalesce(nullif(current_setting('jingwei.actor', true), ''), session_user::text) ELSE session_user::text END
$$;

CREATE OR REPLACE FUNCTION row_versioned() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    NEW.id := OLD.id;
    IF NEW IS DISTINCT FROM OLD THEN
        NEW.version := OLD.version + 1;
    END IF;
    RETURN NEW;
END
$$;

-- Arguments: the geometry columns, which go into the patch as EWKB because GeoJSON rounds.
CREATE OR REPLACE FUNCTION row_journalled() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
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
        VALUES (acting(), coalesce(current_setting('jingwei.acting_as', true), ''), TG_TABLE_NAME, NEW.id, 'add',
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
    FOREACH shape IN ARRAY TG_ARGV LOOP
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
    VALUES (acting(), coalesce(current_setting('jingwei.acting_as', true), ''), TG_TABLE_NAME, NEW.id, done, NEW.version,
            OLD.scope, NEW.scope, NULLIF(NEW.batch, OLD.batch), patch);
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
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
DECLARE
    since pg_snapshot;
    last bigint;
BEGIN
    SELECT snapshot, number INTO since, last FROM relay FOR UPDATE;
    CREATE TEMP TABLE IF NOT EXISTS fresh (id bigint, noun text, number bigint) ON COMMIT DELETE ROWS;
    DELETE FROM fresh;
    INSERT INTO fresh SELECT id, noun, last + row_number() OVER (ORDER BY xid, id)
    FROM changes WHERE xid >= pg_snapshot_xmin(since) AND NOT pg_visible_in_snapshot(xid, since) AND changes.number IS NULL;
    UPDATE changes SET number = fresh.number FROM fresh WHERE changes.id = fresh.id;
    UPDATE relay SET snapshot = pg_current_snapshot(), number = coalesce((SELECT max(fresh.number) FROM fresh), last);
    INSERT INTO layer_versions (layer, version)
    SELECT noun, max(fresh.number) FROM fresh GROUP BY noun
    ON CONFLICT (layer) DO UPDATE SET version = excluded.version;
    RETURN QUERY SELECT DISTINCT noun FROM fresh;
END
$$;
