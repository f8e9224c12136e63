-- Requests of the persons concerned (个人信息保护法 Art 44-50). Nobody reads these tables: everything goes through functions,
-- those for the public by ticket and code, those for staff within the stretch of paths that they are bound to.

DROP FUNCTION IF EXISTS rights_received(uuid, text, bytea, text, bytea, text, bytea, bytea, text, timestamptz);
DROP FUNCTION IF EXISTS rights_followed(text, bytea);
DROP FUNCTION IF EXISTS rights_candidates(text);

-- A request, told its ticket and code by the server, which keeps of the code only what the field key makes of it: the first
-- of `codes`; under the others it may have been kept before keys were changed. An appeal is for who holds ticket and code
-- of what it is against. Returns when it is due.
CREATE OR REPLACE FUNCTION rights_received(
    id uuid, ticket text, codes bytea[], kind text, subject bytea, phone_masked text, phone_cipher bytea, phone_hash bytea,
    against text, moment timestamptz
) RETURNS timestamptz
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
DECLARE
    came constant timestamptz := moment_told(moment);
    due constant timestamptz := came + make_interval(days => (SELECT answer_days FROM instance));
    before uuid;
BEGIN
    IF against IS NOT NULL THEN
        SELECT r.id INTO before FROM rights_requests AS r WHERE r.ticket = against AND r.code_hash = ANY (codes);
        IF before IS NULL THEN
            RAISE no_data_found USING MESSAGE = 'no such request';
        ELSIF NOT EXISTS (SELECT FROM rights_requests AS r WHERE r.id = before AND r.finished_at IS NOT NULL) THEN
            RAISE check_violation USING MESSAGE = 'not answered yet', CONSTRAINT = 'rights_requests_appeal_check', TABLE = 'rights_requests';
        END IF;
    END IF;
    INSERT INTO rights_requests (
        id, ticket, code_hash, kind, scope, subject_cipher, phone_masked, phone_cipher, phone_hash, appeal_of, received_at, due_at)
    VALUES ($1, $2, codes[1], $4, instance_prefix(), $5, $6, $7, $8, before, came, due);
    INSERT INTO rights_log (request, number, kind, source, target, at, actor, acting_as)
    VALUES ($1, 1, $4, '', 'received', came, acting(), coalesce(current_setting('jingwei.acting_as', true), ''));
    RETURN due;
END
$$;

-- Every step is in the trail, at commit: who, when, which request, and where it came to.
CREATE OR REPLACE FUNCTION rights_trailed() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
BEGIN
    PERFORM trail_appended(NEW.actor, NEW.acting_as, 'request', 'rights_requests', r.ticket, r.scope, NEW.kind, NEW.target, origin())
    FROM rights_requests AS r WHERE r.id = NEW.request;
    RETURN NULL;
END
$$;

DROP TRIGGER IF EXISTS rights_log_trailed ON rights_log;
CREATE CONSTRAINT TRIGGER rights_log_trailed AFTER INSERT ON rights_log DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
    EXECUTE FUNCTION rights_trailed();

-- What the person is told: how far it has got, and what was said to them.
CREATE OR REPLACE FUNCTION rights_followed(of_ticket text, codes bytea[]) RETURNS jsonb
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
    SELECT jsonb_build_object(
        'ticket', r.ticket, 'kind', r.kind, 'received_at', r.received_at, 'due_at', r.due_at, 'finished_at', r.finished_at,
        'steps', (SELECT jsonb_agg(jsonb_build_object(
            'at', l.at, 'state', l.target, 'note', l.note, 'grounds', l.grounds, 'appeal_channel', l.appeal_channel) ORDER BY l.number)
            FROM rights_log AS l WHERE l.request = r.id))
    FROM rights_requests AS r WHERE r.ticket = of_ticket AND r.code_hash = ANY (codes)
$$;

-- The requests within the caller's stretch, the soonest due first; what is sealed stays so.
CREATE OR REPLACE FUNCTION rights_listed(of_ticket text, of_state text, late boolean, moment timestamptz, most integer)
RETURNS TABLE (id uuid, ticket text, kind text, state text, received_at timestamptz, due_at timestamptz, finished_at timestamptz,
               overdue boolean, subject_cipher bytea, phone_masked text, verified_how text, appeal_of text, handled_by text, steps bigint)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
    SELECT * FROM (
        SELECT r.id, r.ticket, r.kind, last.target AS state, r.received_at, r.due_at, r.finished_at,
            coalesce(r.finished_at, moment_told(moment)) > r.due_at AS overdue, r.subject_cipher, r.phone_masked, r.verified_how,
            (SELECT b.ticket FROM rights_requests AS b WHERE b.id = r.appeal_of), last.actor, last.number::bigint
        FROM rights_requests AS r
        JOIN LATERAL (SELECT * FROM rights_log AS l WHERE l.request = r.id ORDER BY l.number DESC LIMIT 1) AS last ON true
        WHERE retention_held(r.scope)
    ) AS told (id, ticket, kind, state, received_at, due_at, finished_at, overdue, subject_cipher, phone_masked, verified_how, appeal_of, handled_by, steps)
    WHERE (of_ticket IS NULL OR told.ticket = of_ticket) AND (of_state IS NULL OR told.state = of_state)
      AND (NOT late OR (told.overdue AND told.finished_at IS NULL))
    ORDER BY told.finished_at IS NOT NULL, told.due_at, told.id LIMIT most
$$;

-- The phone number of a request within the caller's stretch, sealed: only the server can look for it.
CREATE OR REPLACE FUNCTION rights_phone(of_ticket text) RETURNS TABLE (id uuid, phone_cipher bytea)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
    SELECT r.id, r.phone_cipher FROM rights_requests AS r
    WHERE r.ticket = of_ticket AND retention_held(r.scope) AND r.phone_cipher IS NOT NULL
$$;

-- A step, by whoever comes first: of two at once the later breaks the log's key, and one that comes after finds no move
-- from where the request is now. Returns the request.
CREATE OR REPLACE FUNCTION rights_moved(
    of_ticket text, of_kinds text[], wanted text, note text, grounds text, appeal_channel text, moment timestamptz
) RETURNS uuid
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
DECLARE
    asked rights_requests;
BEGIN
    SELECT * INTO asked FROM rights_requests
    WHERE ticket = of_ticket AND retention_held(scope) AND (of_kinds IS NULL OR kind = ANY (of_kinds));
    IF asked.id IS NULL THEN
        RAISE no_data_found USING MESSAGE = 'no such request';
    END IF;
    -- Nobody judges an appeal against himself.
    IF asked.appeal_of IS NOT NULL AND wanted IN ('answered', 'refused') AND EXISTS (
        SELECT FROM rights_log AS l WHERE l.request = asked.appeal_of AND l.target IN ('answered', 'refused') AND l.actor = acting())
    THEN
        RAISE check_violation USING MESSAGE = 'an appeal against himself', CONSTRAINT = 'rights_log_appeal_check', TABLE = 'rights_log';
    END IF;
    INSERT INTO rights_log (request, number, kind, source, target, at, actor, acting_as, note, grounds, appeal_channel)
    SELECT asked.id, last.number + 1, asked.kind, last.target, wanted, moment_told(moment), acting(),
        coalesce(current_setting('jingwei.acting_as', true), ''), coalesce($4, ''), $5, $6
    FROM rights_log AS last WHERE last.request = asked.id ORDER BY last.number DESC LIMIT 1;
    IF wanted IN ('answered', 'refused') THEN
        UPDATE rights_requests SET finished_at = moment_told(moment) WHERE id = asked.id;
    END IF;
    RETURN asked.id;
END
$$;

-- Who asks is who they say: how that was found, and which records are theirs ([{noun, id}]; none is an answer too).
CREATE OR REPLACE FUNCTION rights_verified(of_ticket text, how text, findings jsonb, moment timestamptz) RETURNS uuid
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
DECLARE
    asked constant uuid := rights_moved(of_ticket, NULL, 'verified', '', NULL, NULL, moment);
    found record;
    there boolean;
BEGIN
    UPDATE rights_requests SET verified_how = how WHERE id = asked;
    FOR found IN SELECT DISTINCT noun, id FROM jsonb_to_recordset(findings) AS f (noun text, id uuid) LOOP
        there := false;
        IF EXISTS (SELECT FROM retention_rules AS r WHERE r.noun = found.noun AND r.noun NOT IN ('load_problems', 'rights_requests')) THEN
            EXECUTE format('SELECT EXISTS (SELECT FROM %I WHERE id = $1)', found.noun) INTO there USING found.id;
        END IF;
        IF NOT there THEN
            RAISE check_violation USING MESSAGE = 'no such record', CONSTRAINT = 'rights_findings_feature_check', TABLE = 'rights_findings';
        END IF;
        INSERT INTO rights_findings (request, noun, feature) VALUES (asked, found.noun, found.id);
    END LOOP;
    RETURN asked;
END
$$;

-- The records that were found to be theirs.
CREATE OR REPLACE FUNCTION rights_found(of_ticket text) RETURNS TABLE (kind text, noun text, feature uuid)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
    SELECT r.kind, f.noun, f.feature FROM rights_findings AS f JOIN rights_requests AS r ON r.id = f.request
    WHERE r.ticket = of_ticket AND retention_held(r.scope) ORDER BY f.noun, f.feature
$$;

-- Everything held of them, for a request to see: the row, who wrote it when, and who looked for what purpose.
CREATE OR REPLACE FUNCTION rights_copied(of_ticket text) RETURNS TABLE (noun text, feature uuid, held jsonb, written jsonb, looked jsonb)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
DECLARE
    found record;
BEGIN
    FOR found IN SELECT f.noun, f.feature FROM rights_found(of_ticket) AS f WHERE f.kind = 'access' LOOP
        RETURN QUERY EXECUTE format($sql$
            SELECT %1$L::text, n.id, to_jsonb(n),
                (SELECT coalesce(jsonb_agg(jsonb_build_object('at', c.at, 'operation', c.operation, 'by', coalesce(nullif(c.acting_as, ''), c.actor)) ORDER BY c.id), '[]')
                 FROM changes AS c WHERE c.noun = %1$L AND (c.feature = n.id OR (c.operation = 'batch' AND c.batch = n.batch))),
                (SELECT coalesce(jsonb_agg(jsonb_build_object('at', t.at, 'purpose', t.purpose, 'by', coalesce(nullif(t.acting_as, ''), t.actor)) ORDER BY t.id), '[]')
                 FROM trail AS t WHERE t.noun = %1$L AND t.feature = n.id::text)
            FROM %1$I AS n WHERE n.id = $1 $sql$, found.noun) USING found.feature;
    END LOOP;
END
$$;

-- What was found to be theirs is destroyed, and the words of the request with it: rows about a person whole, of others the
-- personal fields. Only for a request to delete that was answered so, and only once.
CREATE OR REPLACE FUNCTION rights_deleted(of_ticket text) RETURNS SETOF destructions
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
DECLARE
    asked rights_requests;
    rule retention_rules;
    held uuid[];
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('destructions'));
    SELECT r.* INTO asked FROM rights_requests AS r JOIN rights_log AS l ON l.request = r.id AND l.target = 'answered'
    WHERE r.ticket = of_ticket AND r.kind = 'delete' AND retention_held(r.scope)
      AND NOT EXISTS (SELECT FROM destructions AS d WHERE d.request = r.id);
    IF asked.id IS NULL THEN
        RAISE no_data_found USING MESSAGE = 'no such request';
    END IF;
    FOR rule IN
        SELECT * FROM retention_rules WHERE noun IN (SELECT f.noun FROM rights_findings AS f WHERE f.request = asked.id)
        ORDER BY whole DESC, position
    LOOP
        EXECUTE format(
            'SELECT array_agg(id) FROM %I AS n WHERE id IN (SELECT feature FROM rights_findings WHERE request = $1 AND noun = $2) AND num_nonnulls(%s) > 0',
            rule.noun, (SELECT string_agg(format('n.%I', c), ', ') FROM unnest(rule.columns) AS c)) INTO held USING asked.id, rule.noun;
        IF cardinality(held) > 0 THEN
            RETURN QUERY SELECT * FROM struck(
                uuid_v7(), clock_timestamp(), 'request', NULL, asked.id, rule.noun, rule.field,
                CASE WHEN NOT rule.whole THEN rule.columns END, held, false);
        END IF;
    END LOOP;
    RETURN QUERY SELECT s.* FROM retention_rules AS own, struck(
        uuid_v7(), clock_timestamp(), 'request', NULL, asked.id, own.noun, own.field, own.columns, ARRAY[asked.id], false) AS s
    WHERE own.noun = 'rights_requests';
END
$$;
