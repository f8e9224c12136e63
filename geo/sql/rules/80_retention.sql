-- Retention: what was gathered for an emergency, what is over, and its destruction, a stretch at a time.

-- Whether the caller answers for the data of persons within a path. Of an instance that has not said where it is, whoever has
-- the ability anywhere.
CREATE OR REPLACE FUNCTION retention_held(path text) RETURNS boolean
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
    SELECT caller_may('retention') AND (caller_holds(path) OR path = '')
$$;

-- A row says when its person was last known to be as it says. A date to come would only put destruction off.
CREATE OR REPLACE FUNCTION row_verified() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    NEW.verified_at := least(coalesce(NEW.verified_at, OLD.verified_at, now()), now());
    RETURN NEW;
END
$$;

-- What was destroyed does not come back under its id: a device that was long without a network sends again what it never
-- heard the answer to. Told by the journal, which keeps that it was.
CREATE OR REPLACE FUNCTION row_anew() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
DECLARE
    -- As it is, it has the collation of names, for which there is no index: 0.3 ms of each write over 10,000 changes, and more over more.
    of_noun constant text := TG_TABLE_NAME;
BEGIN
    IF EXISTS (SELECT FROM changes WHERE noun = of_noun AND feature = NEW.id AND operation = 'destroy') THEN
        RAISE check_violation USING MESSAGE = 'destroyed', CONSTRAINT = 'destructions_final_check', TABLE = TG_TABLE_NAME;
    END IF;
    RETURN NEW;
END
$$;

-- What was gathered for an emergency stays with it until it is destroyed (突发事件应对法 2024 Art 84, 85), and nothing is
-- gathered for one that is over. An activation that is not there is for the foreign key to refuse.
CREATE OR REPLACE FUNCTION row_gathered() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
BEGIN
    IF TG_OP = 'UPDATE' AND OLD.activation IS NOT NULL THEN
        RAISE check_violation USING MESSAGE = 'gathered for an emergency',
            CONSTRAINT = 'activations_use_check', TABLE = TG_TABLE_NAME, COLUMN = 'activation';
    END IF;
    IF EXISTS (SELECT FROM activations WHERE id = NEW.activation AND closed_at <= now()) THEN
        RAISE check_violation USING MESSAGE = 'the emergency is over',
            CONSTRAINT = 'activations_over_check', TABLE = TG_TABLE_NAME, COLUMN = 'activation';
    END IF;
    RETURN NEW;
END
$$;

-- The end of an emergency starts the clock, from when it is told and not from a date written back; telling another date
-- does not move it. Taking an end back is for who ended the wrong one, while there is time.
CREATE OR REPLACE FUNCTION activation_ended() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
BEGIN
    NEW.closed_at := coalesce(NEW.closed_at, NEW.retired_at);
    IF NEW.closed_at IS NULL THEN
        IF TG_OP = 'UPDATE' AND OLD.review_until <= now() THEN
            RAISE check_violation USING MESSAGE = 'what was gathered for it is being destroyed',
                CONSTRAINT = 'activations_reopened_check', TABLE = 'activations', COLUMN = 'closed_at';
        END IF;
        NEW.review_until := NULL;
        NEW.closed_by := NULL;
    ELSIF TG_OP = 'INSERT' OR NEW.closed_at IS DISTINCT FROM OLD.closed_at THEN
        NEW.review_until := coalesce(
            OLD.review_until,
            greatest(NEW.closed_at, now()) + make_interval(days => (SELECT review_days FROM instance)));
        NEW.closed_by := acting();
    END IF;
    RETURN NEW;
END
$$;

-- The one exception: an assessment that says who found it needed, why, and until when. Returns the end of the review.
CREATE OR REPLACE FUNCTION activation_assessed(
    of_activation uuid, until timestamptz, assessed_by text, reason text, document_number text
) RETURNS timestamptz
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
DECLARE
    was activations;
BEGIN
    SELECT * INTO was FROM activations WHERE id = of_activation AND retention_held(scope) FOR UPDATE;
    IF was.id IS NULL THEN
        RAISE no_data_found USING MESSAGE = 'no such activation';
    END IF;
    IF was.review_until IS NULL OR was.review_until <= now() THEN
        RAISE check_violation USING MESSAGE = 'not under review', CONSTRAINT = 'assessments_review_check', TABLE = 'assessments';
    END IF;
    INSERT INTO assessments (activation, until, assessed_by, reason, document_number, actor)
    VALUES ($1, $2, $3, $4, coalesce($5, ''), acting());
    UPDATE activations SET review_until = greatest(review_until, $2) WHERE id = of_activation;
    RETURN greatest(was.review_until, $2);
END
$$;

-- Certificates, assessments and what was destroyed are written once. A stretch is given its certificate, and no more.
CREATE OR REPLACE FUNCTION record_kept() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' AND TG_TABLE_NAME = 'destructions' AND TG_LEVEL = 'ROW' THEN
        IF OLD.certificate IS NULL AND to_jsonb(NEW) - 'certificate' = to_jsonb(OLD) - 'certificate' THEN
            RETURN NEW;
        END IF;
    END IF;
    RAISE insufficient_privilege USING MESSAGE = 'what was done is not undone by rewriting it';
END
$$;

CREATE OR REPLACE TRIGGER kept BEFORE UPDATE OR DELETE OR TRUNCATE ON certificates
    FOR EACH STATEMENT EXECUTE FUNCTION record_kept();
CREATE OR REPLACE TRIGGER kept BEFORE UPDATE OR DELETE OR TRUNCATE ON assessments
    FOR EACH STATEMENT EXECUTE FUNCTION record_kept();
CREATE OR REPLACE TRIGGER kept BEFORE DELETE OR TRUNCATE ON destructions
    FOR EACH STATEMENT EXECUTE FUNCTION record_kept();
CREATE OR REPLACE TRIGGER certified BEFORE UPDATE ON destructions FOR EACH ROW EXECUTE FUNCTION record_kept();

-- At commit, as all that is written.
DROP TRIGGER IF EXISTS certificates_trailed ON certificates;
CREATE CONSTRAINT TRIGGER certificates_trailed AFTER INSERT ON certificates DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
    EXECUTE FUNCTION row_trailed('destroy', 'id');
DROP TRIGGER IF EXISTS assessments_trailed ON assessments;
CREATE CONSTRAINT TRIGGER assessments_trailed AFTER INSERT ON assessments DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
    EXECUTE FUNCTION row_trailed('approve', 'activation');

-- The moment at which the keeping of a row `n` ends, for one cause, as SQL; NULL where the table knows no such cause.
CREATE OR REPLACE FUNCTION retention_moment(rule retention_rules, cause text) RETURNS text
LANGUAGE sql STABLE SET search_path = jingwei, public, pg_temp AS $$
    SELECT CASE
        WHEN cause = 'period' THEN format('n.%I + interval ''%s days''', rule.since, rule.days)
        WHEN NOT EXISTS (SELECT FROM pg_attribute WHERE attrelid = to_regclass(rule.noun)
                         AND attname = CASE cause WHEN 'retired' THEN 'retired_at' ELSE 'activation' END) THEN NULL
        WHEN cause = 'retired' THEN format('n.retired_at + interval ''%s days''', rule.retired_days)
        ELSE '(SELECT a.review_until FROM activations AS a WHERE a.id = n.activation)' END
$$;

-- Which rows `n` are over at the moment $1 for one cause, as SQL: an emergency first, then being off the lists, then time.
CREATE OR REPLACE FUNCTION retention_condition(rule retention_rules, cause text) RETURNS text
LANGUAGE sql STABLE SET search_path = jingwei, public, pg_temp AS $$
    WITH told AS (
        SELECT c, n, CASE c
            -- By index, where the moment itself would be looked up row by row.
            WHEN 'emergency' THEN
                CASE WHEN retention_moment(rule, c) IS NOT NULL
                THEN 'n.activation IN (SELECT a.id FROM activations AS a WHERE a.review_until <= $1)' END
            ELSE retention_moment(rule, c) || ' <= $1' END AS over
        FROM unnest(ARRAY['emergency', 'retired', 'period']) WITH ORDINALITY AS causes (c, n)
    )
    SELECT (SELECT over FROM told WHERE c = cause)
        || coalesce((SELECT string_agg(format(' AND NOT coalesce(%s, false)', over), '' ORDER BY n) FROM told
                     WHERE over IS NOT NULL AND n < (SELECT n FROM told WHERE c = cause)), '')
        || CASE WHEN rule.field = '' THEN ''
                ELSE format(' AND num_nonnulls(%s) > 0', (SELECT string_agg(format('n.%I', c), ', ') FROM unnest(rule.columns) AS c)) END
$$;

-- What is over at a moment, a line a rule and cause: how many rows, and since when the first of them.
CREATE OR REPLACE FUNCTION retention_due(moment timestamptz)
RETURNS TABLE (noun text, field text, cause text, activation uuid, count bigint, since timestamptz)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
DECLARE
    rule retention_rules;
    why text;
    condition text;
BEGIN
    FOREACH why IN ARRAY ARRAY['emergency', 'retired', 'period'] LOOP
        FOR rule IN SELECT * FROM retention_rules AS r WHERE r.noun <> 'load_problems' ORDER BY r.position LOOP
            condition := retention_condition(rule, why);
            CONTINUE WHEN condition IS NULL;
            RETURN QUERY EXECUTE format(
                'SELECT %L::text, %L::text, %L::text, %s AS activation, count(*), min(%s) FROM %I AS n WHERE %s GROUP BY 4 HAVING count(*) > 0',
                rule.noun, rule.field, why, CASE why WHEN 'emergency' THEN 'n.activation' ELSE 'NULL::uuid' END,
                retention_moment(rule, why), rule.noun, condition) USING moment;
        END LOOP;
    END LOOP;
    RETURN QUERY SELECT r.noun, r.field, 'period'::text, NULL::uuid, count(*), min(b.at) + make_interval(days => min(r.days))
    FROM retention_rules AS r, load_problems AS p JOIN batches AS b ON b.id = p.batch
    WHERE r.noun = 'load_problems' AND p.record <> '{}' AND b.at + make_interval(days => r.days) <= moment
      AND EXISTS (SELECT FROM retention_rules AS of WHERE of.noun = b.noun AND of.field = '')
    GROUP BY r.noun, r.field HAVING count(*) > 0;
END
$$;

-- The worker goes by the clock; only the administrator may say what time it is.
CREATE OR REPLACE FUNCTION moment_told(moment timestamptz) RETURNS timestamptz
LANGUAGE sql STABLE AS $$
    SELECT CASE WHEN session_user = 'jingwei_web' THEN least(coalesce(moment, now()), now()) ELSE coalesce(moment, now()) END
$$;

-- What is over now, for whoever answers for the data of persons.
CREATE OR REPLACE FUNCTION retention_told(moment timestamptz)
RETURNS TABLE (noun text, field text, cause text, activation uuid, count bigint, since timestamptz)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
    SELECT * FROM retention_due(moment_told(moment)) WHERE caller_may('retention')
$$;

-- Destroy up to so many rows that are over, and tell which: the list outside the database is written from this, before
-- the transaction commits. A row that somebody is writing just now is passed over; the next run finds it.
CREATE OR REPLACE FUNCTION retention_stretch(
    of_noun text, of_field text, why text, whose uuid, moment timestamptz, most integer
) RETURNS SETOF destructions
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
DECLARE
    rule retention_rules;
    held uuid[];
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('destructions'));
    SELECT * INTO rule FROM retention_rules WHERE noun = of_noun AND field = of_field;
    IF of_noun = 'load_problems' THEN
        held := ARRAY(
            SELECT DISTINCT b.id FROM load_problems AS p JOIN batches AS b ON b.id = p.batch
            WHERE p.record <> '{}' AND b.at + make_interval(days => rule.days) <= moment_told(moment)
              AND EXISTS (SELECT FROM retention_rules AS of WHERE of.noun = b.noun AND of.field = '') LIMIT most);
    ELSIF retention_condition(rule, why) IS NOT NULL THEN
        EXECUTE format(
            'SELECT array_agg(id) FROM (SELECT n.id FROM %I AS n WHERE %s %s LIMIT $2 FOR UPDATE OF n SKIP LOCKED) AS held',
            of_noun, retention_condition(rule, why), CASE WHEN whose IS NULL THEN '' ELSE 'AND n.activation = $3' END)
        INTO held USING moment_told(moment), most, whose;
    END IF;
    IF cardinality(held) > 0 THEN
        RETURN QUERY SELECT * FROM struck(
            uuid_v7(), clock_timestamp(), why, whose, NULL, of_noun, of_field, CASE WHEN NOT rule.whole THEN rule.columns END, held, false);
    END IF;
END
$$;

-- One destruction, whatever it is of: rows, fields of rows that stay, or what was kept of rows that could not be stored.
-- When it is done again, after a restore, it keeps the id and the moment of the first time.
CREATE OR REPLACE FUNCTION struck(
    stretch uuid, first_at timestamptz, why text, whose uuid, asked uuid, of_noun text, of_field text, of_columns text[], gone uuid[], again boolean
) RETURNS SETOF destructions
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
DECLARE
    done integer := 0;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('destructions'));
    IF again AND EXISTS (SELECT FROM destructions WHERE id = stretch) THEN
        RETURN;  -- it was only just being done
    END IF;
    IF of_noun = 'load_problems' THEN
        done := problems_struck(gone);
    ELSIF to_regclass(format('jingwei.%I', of_noun)) IS NULL THEN
        NULL;  -- a noun that is no more, told by an old list
    ELSIF of_columns IS NULL THEN
        done := rows_destroyed(of_noun, gone, why = 'emergency');
    ELSE
        done := fields_struck(of_noun, of_columns, gone);
    END IF;
    -- A run is told in the trail by the stretch, whose ids are kept here: a row each took the chain's lock for a quarter of a
    -- second, and everybody's writes waited. What a person asked for or somebody did by hand is told record by record.
    IF again OR why IN ('period', 'retired', 'emergency') THEN
        INSERT INTO changes (actor, acting_as, noun, operation, batch, patch)
        VALUES (acting(), acting_as(), of_noun, 'destroy', stretch, jsonb_build_object('rows', done));
    END IF;
    RETURN QUERY INSERT INTO destructions (id, at, cause, activation, request, noun, field, columns, ids, number, replayed_at)
    VALUES (stretch, first_at, why, whose, asked, of_noun, of_field, of_columns, gone, done,
            CASE WHEN again THEN clock_timestamp() END)
    RETURNING *;
END
$$;

-- Rows, with their journal, their replies and whatever else was kept of them. What stays says that they were destroyed.
CREATE OR REPLACE FUNCTION rows_destroyed(of_noun text, gone uuid[], with_batches boolean) RETURNS integer
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
DECLARE
    refers record;
    touched uuid[];
    done integer;
BEGIN
    EXECUTE format('SELECT array_agg(DISTINCT batch) FROM %I WHERE id = ANY ($1)', of_noun) INTO touched USING gone;
    IF EXISTS (SELECT FROM pg_attribute WHERE attrelid = of_noun::regclass AND attname = 'activation') THEN
        EXECUTE format(
            'INSERT INTO gathered_counts AS t (activation, noun, path, count)
             SELECT activation, %1$L, left(scope, 12) COLLATE "C", count(*) FROM %1$I WHERE id = ANY ($1) AND activation IS NOT NULL GROUP BY 1, 3
             ON CONFLICT (activation, noun, path) DO UPDATE SET count = t.count + excluded.count', of_noun) USING gone;
    END IF;
    PERFORM traces_first(of_noun, gone);
    -- Records that stay and named one that goes name none from now on.
    FOR refers IN
        SELECT c.conrelid::regclass AS noun, a.attname AS field FROM pg_constraint AS c
        JOIN pg_attribute AS a ON a.attrelid = c.conrelid AND a.attnum = c.conkey[1]
        WHERE c.contype = 'f' AND c.confrelid = of_noun::regclass AND cardinality(c.conkey) = 1 AND NOT a.attnotnull
          AND EXISTS (SELECT FROM pg_attribute AS v WHERE v.attrelid = c.conrelid AND v.attname = 'version')
    LOOP
        EXECUTE format('UPDATE %s SET %I = NULL WHERE %2$I = ANY ($1)', refers.noun, refers.field) USING gone;
    END LOOP;
    EXECUTE format('DELETE FROM %I WHERE id = ANY ($1)', of_noun) USING gone;
    GET DIAGNOSTICS done = ROW_COUNT;
    PERFORM traces_struck(of_noun, gone, NULL);
    IF NOT with_batches THEN
        EXECUTE format('SELECT array_agg(b) FROM unnest($1) AS b WHERE NOT EXISTS (SELECT FROM %I WHERE batch = b)', of_noun)
        INTO touched USING touched;
    END IF;
    PERFORM problems_struck(touched);
    RETURN done;
END
$$;

-- Single fields of rows that stay. The journal tells that something was destroyed, and so a batch can still be taken back.
CREATE OR REPLACE FUNCTION fields_struck(of_noun text, of_columns text[], gone uuid[]) RETURNS integer
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
DECLARE
    assigned text;
    held text;
    last constant bigint := coalesce((SELECT max(id) FROM changes), 0);
    done integer;
BEGIN
    SELECT string_agg(format('%I = NULL', attname), ', ') FILTER (WHERE attgenerated = ''), string_agg(format('%I', attname), ', ')
    INTO assigned, held FROM pg_attribute
    WHERE attrelid = of_noun::regclass AND attname = ANY (of_columns) AND NOT attisdropped;
    EXECUTE format('UPDATE %I SET %s WHERE id = ANY ($1) AND num_nonnulls(%s) > 0', of_noun, assigned, held) USING gone;
    GET DIAGNOSTICS done = ROW_COUNT;
    UPDATE changes SET operation = 'destroy'
    WHERE xid = pg_current_xact_id() AND id > last AND noun = of_noun AND feature = ANY (gone) AND operation = 'change';
    PERFORM traces_struck(of_noun, gone, of_columns);
    RETURN done;
END
$$;

-- What was kept as work of rows that could not be stored, and the values that the report of their load quotes; of a load
-- of which no row is left, the name of its file too: it may be a person's.
CREATE OR REPLACE FUNCTION problems_struck(loads uuid[]) RETURNS integer
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
DECLARE
    load record;
    filled boolean;
    done integer;
BEGIN
    FOR load IN SELECT id, noun FROM batches WHERE id = ANY (loads) AND source <> '' LOOP
        EXECUTE format('SELECT EXISTS (SELECT FROM %I WHERE batch = $1)', load.noun) INTO filled USING load.id;
        IF NOT filled THEN
            UPDATE batches SET source = '', report = CASE WHEN report ? 'source' THEN report || '{"source": ""}' ELSE report END
            WHERE id = load.id;
        END IF;
    END LOOP;
    UPDATE load_problems SET record = '{}', reason = '已到期销毁', facts = '{}', value = '', suggestion = '', lon = NULL, lat = NULL
    WHERE batch = ANY (loads) AND (record <> '{}' OR value <> '');
    GET DIAGNOSTICS done = ROW_COUNT;
    UPDATE batches SET report = report || '{"problems": {}, "unread": {}, "notes": []}' WHERE id = ANY (loads) AND report ? 'problems';
    RETURN done;
END
$$;

-- The hash of what was destroyed: who has the list can show that it is the one, and who has the hash learns nothing.
CREATE OR REPLACE FUNCTION certificate_hash(salted bytea, of_stretches uuid[]) RETURNS bytea
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
    SELECT sha256(salted || convert_to(coalesce(string_agg(line, E'\n' ORDER BY line COLLATE "C"), ''), 'UTF8'))
    FROM (SELECT concat_ws('|', d.noun, d.field, gone) AS line FROM destructions AS d, unnest(d.ids) AS gone
          WHERE d.id = ANY (of_stretches)) AS lines
$$;

-- A certificate for each cause of what was destroyed and has none, or for one request. A run that was broken off is told by
-- the next.
CREATE OR REPLACE FUNCTION certificates_issued(of_request uuid) RETURNS SETOF certificates
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
DECLARE
    told record;
    made uuid;
    salted bytea;
BEGIN
    IF of_request IS NULL AND caller_right() NOT IN ('none', 'owner') THEN
        PERFORM refuse('certificates of a run are for who runs it');
    END IF;
    PERFORM pg_advisory_xact_lock(hashtext('certificates'));
    FOR told IN
        SELECT CASE WHEN replayed_at IS NULL THEN cause ELSE 'replay' END AS why, CASE WHEN replayed_at IS NULL THEN activation END AS whose,
            CASE WHEN replayed_at IS NULL THEN request END AS asked, array_agg(id ORDER BY id) AS stretches,
            min(coalesce(replayed_at, at)) AS begun, max(coalesce(replayed_at, at)) AS ended, sum(number) AS total
        FROM destructions WHERE certificate IS NULL AND number > 0 AND (of_request IS NULL OR request = of_request) GROUP BY 1, 2, 3 ORDER BY min(at)
    LOOP
        made := uuid_v7();
        salted := uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid());
        INSERT INTO certificates (id, issued_by, approved_by, cause, activation, request, begun_at, ended_at, counts, total, stretches, salt, hash)
        SELECT made, acting(),
            coalesce(CASE told.why
                WHEN 'emergency' THEN (SELECT concat_ws(' ', deciding_organ, closed_by) FROM activations WHERE id = told.whose)
                WHEN 'request' THEN acting() WHEN 'hand' THEN acting() END, ''),
            told.why, told.whose, told.asked, told.begun, told.ended,
            (SELECT coalesce(jsonb_agg(jsonb_build_object('noun', c.noun, 'field', c.field, 'count', c.count) ORDER BY c.noun, c.field), '[]')
             FROM (SELECT d.noun, d.field, sum(d.number) AS count FROM destructions AS d WHERE d.id = ANY (told.stretches) AND d.number > 0
                   GROUP BY 1, 2) AS c),
            told.total, told.stretches, salted, certificate_hash(salted, told.stretches);
        UPDATE destructions SET certificate = made WHERE id = ANY (told.stretches);
        RETURN QUERY SELECT * FROM certificates WHERE id = made;
    END LOOP;
END
$$;

-- Every certificate, the latest first, or one of them, and whether the hash is that of the list. For whoever answers for the
-- data of persons.
CREATE OR REPLACE FUNCTION certificates_told(only_id uuid) RETURNS TABLE (certificate jsonb, holds boolean)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
    SELECT to_jsonb(c), CASE WHEN only_id IS NOT NULL THEN certificate_hash(c.salt, c.stretches) = c.hash END
    FROM certificates AS c WHERE (only_id IS NULL OR id = only_id) AND caller_may('retention') ORDER BY number DESC
$$;

CREATE OR REPLACE FUNCTION instance_id() RETURNS uuid
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
    SELECT id FROM instance
$$;

-- Rows gathered for an emergency, by noun and community: those that are there and those that were. The sum stays as it was.
CREATE OR REPLACE FUNCTION activation_counts(of_activation uuid) RETURNS TABLE (noun text, path text, count bigint)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
DECLARE
    held text;
BEGIN
    SELECT string_agg(format('SELECT %1$L, left(scope, 12) COLLATE "C", count(*) FROM %1$I WHERE activation = $1 GROUP BY 2', r.noun), ' UNION ALL ')
    INTO held FROM (SELECT DISTINCT rule.noun FROM retention_rules AS rule JOIN pg_attribute AS a
                    ON a.attrelid = to_regclass(rule.noun) AND a.attname = 'activation' AND rule.noun <> 'load_problems') AS r;
    RETURN QUERY EXECUTE format(
        'SELECT noun, path, sum(count)::bigint FROM (%s UNION ALL SELECT noun, path, count FROM gathered_counts WHERE activation = $1)
         AS every (noun, path, count) WHERE retention_held(path) GROUP BY 1, 2 ORDER BY 1, 2', held) USING of_activation;
END
$$;

-- Whether it is time: at night, once a day; at once where a night was missed, as where the server is switched off at night.
CREATE OR REPLACE FUNCTION retention_awaited(moment timestamptz) RETURNS boolean
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
    SELECT here::date > last AND (extract(hour FROM here) BETWEEN 1 AND 4 OR here::date > last + 1)
    FROM (SELECT moment AT TIME ZONE time_zone AS here, coalesce(destroyed_on, (moment AT TIME ZONE time_zone)::date - 1) AS last
          FROM instance, relay) AS clock
$$;

CREATE OR REPLACE FUNCTION retention_rested(moment timestamptz) RETURNS void
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
    UPDATE relay SET destroyed_on = (moment AT TIME ZONE (SELECT time_zone FROM instance))::date
$$;
