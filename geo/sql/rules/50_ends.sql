-- Three ends. Retire: leaves the lists. Undo: a batch is taken back. Destroy (70_retention.sql): nothing is left but that it was.

-- Whether an id is living, retired or unknown, for 404 and 410 alike; nothing of the row.
CREATE OR REPLACE FUNCTION feature_fate(noun regclass, feature uuid, lo text, hi text, public_rows text) RETURNS text
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
DECLARE
    fate text;
BEGIN
    IF (SELECT relnamespace <> 'jingwei'::regnamespace FROM pg_class WHERE oid = noun) THEN
        RETURN 'absent';
    END IF;
    EXECUTE format('SELECT CASE WHEN retired_at IS NULL THEN ''living'' ELSE ''retired'' END FROM %s WHERE id = $1
                    AND scope >= $2 AND scope < $3', noun) INTO fate USING feature, lo, hi;
    RETURN coalesce(fate, 'absent');
END
$$;

CREATE OR REPLACE FUNCTION batch_undone(taken uuid) RETURNS integer
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
DECLARE
    of_noun text;
    touched integer;
    added integer;
    columns text;
    values text;
BEGIN
    IF EXISTS (SELECT FROM batches WHERE id = taken AND report ? 'closed') THEN
        RETURN redraw_undone(taken);
    END IF;
    SELECT noun INTO of_noun FROM batches WHERE id = taken AND undone_at IS NULL FOR UPDATE;
    IF NOT FOUND THEN
        RAISE no_data_found USING MESSAGE = 'no such batch, or undone already';
    END IF;
    SELECT count(*) INTO touched FROM batch_touched(of_noun, taken);
    IF touched > 0 THEN
        RAISE check_violation USING MESSAGE = format('%s rows of the batch were changed since', touched),
            CONSTRAINT = 'batches_undo_check', TABLE = 'batches';
    END IF;
    SELECT string_agg(format('%I', attname), ', ' ORDER BY attnum), string_agg(format('r.%I', attname), ', ' ORDER BY attnum)
    INTO columns, values FROM pg_attribute
    WHERE attrelid = of_noun::regclass AND attnum > 0 AND NOT attisdropped AND attgenerated = '' AND attname NOT IN ('id', 'version');
    -- What the batch changed or ended is as it was before: the journal has kept that of each row.
    EXECUTE format('UPDATE %1$I AS t SET (%2$s) = (SELECT %3$s FROM jsonb_populate_record(t, c.patch - ''version'') AS r)
        FROM changes AS c WHERE c.noun = %1$L AND c.batch = $1 AND c.feature = t.id AND c.operation IN (''change'', ''retire'', ''place'')',
        of_noun, columns, values) USING taken;
    GET DIAGNOSTICS touched = ROW_COUNT;
    IF of_noun = 'layers' AND EXISTS (
        SELECT FROM layers AS l WHERE l.id IN (SELECT c.feature FROM changes AS c WHERE c.noun = 'layers' AND c.batch = taken)
          AND NOT EXISTS (SELECT FROM layer_features AS f WHERE f.edition = l.edition)) THEN
        RAISE check_violation USING MESSAGE = 'the edition before is gone', CONSTRAINT = 'layers_cleared_check', TABLE = 'layers';
    END IF;
    EXECUTE format('UPDATE %I SET retired_at = now() WHERE batch = $1 AND retired_at IS NULL', of_noun) USING taken;
    GET DIAGNOSTICS added = ROW_COUNT;
    UPDATE batches SET undone_at = now() WHERE id = taken;
    INSERT INTO changes (actor, noun, operation, batch, patch)
    VALUES (acting(), of_noun, 'undo', taken, jsonb_build_object('rows', touched + added));
    RETURN touched + added;
END
$$;

CREATE OR REPLACE FUNCTION feature_of_batch(noun text, loaded uuid) RETURNS SETOF uuid
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
BEGIN
    RETURN QUERY EXECUTE format('SELECT id FROM %I WHERE batch = $1', noun) USING loaded;
END
$$;

-- The rows of a batch that somebody changed after it: those keep it from being taken back. What another batch changed and its
-- being taken back changed again is as it was.
CREATE OR REPLACE FUNCTION batch_touched(of_noun text, taken uuid) RETURNS SETOF uuid
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
    SELECT DISTINCT c.feature FROM changes AS c
    WHERE c.noun = of_noun AND c.operation IN ('change', 'retire', 'restore') AND c.batch IS DISTINCT FROM taken
      AND NOT EXISTS (SELECT FROM batches AS b WHERE b.id = c.batch AND b.undone_at IS NOT NULL)
      AND NOT EXISTS (SELECT FROM changes AS w WHERE w.xid = c.xid AND w.feature IS NULL AND w.operation = 'undo')
      -- What a layer is called and looks like is nothing that its file said, and stays as it now is.
      AND NOT (of_noun = 'layers' AND c.operation = 'change'
               AND c.patch - ARRAY['title', 'about', 'audience', 'color', 'opacity', 'version'] = '{}')
      AND (c.feature IN (SELECT feature_of_batch(of_noun, taken))
           OR EXISTS (SELECT FROM changes AS own WHERE own.batch = taken AND own.feature = c.feature AND own.noun = of_noun AND own.id < c.id))
$$;
