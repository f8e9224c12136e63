-- What the systems of others are told of cases: facts that are everybody's.

-- When a case took its last step. Reminders and what is only noted are the offices' own.
CREATE OR REPLACE FUNCTION incident_moved_at(of_incident uuid) RETURNS timestamptz
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
    SELECT coalesce((SELECT max(l.at) FROM incident_log AS l WHERE l.incident = of_incident AND l.source <> l.target),
        (SELECT coalesce(i.closed_at, i.reported_at) FROM incidents AS i WHERE i.id = of_incident))
$$;

-- The steps that cases took between two moments: which case, where it came to, when. By whom and with what words is not told.
CREATE OR REPLACE FUNCTION incident_updates_told(since timestamptz, until timestamptz, most integer)
RETURNS TABLE ("update" text, number text, state text, at timestamptz)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
    SELECT l.incident || '-' || l.number, coalesce(i.number, i.id::text), l.target, l.at
    FROM incident_log AS l JOIN incidents AS i ON i.id = l.incident
    WHERE l.at >= since AND l.at < until AND l.source <> l.target AND l.number > 1 AND i.retired_at IS NULL AND NOT i.exercise
    ORDER BY l.at, l.incident, l.number LIMIT least(most, 1000)
$$;

-- Whose ticket or observation it may be: whoever may deliver.
CREATE OR REPLACE FUNCTION deliverer() RETURNS void
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
BEGIN
    IF NOT caller_may('deliver') THEN
        PERFORM refuse('no right to deliver');
    END IF;
END
$$;

-- Takes in a ticket of the hotline. `known`: the fingerprints by which the same message is known that was sent before. Its words are
-- a caller's, and may accuse somebody by name: the title, which is everybody's, is that of its matter.
CREATE OR REPLACE FUNCTION hotline_taken(
    external text, of_kind text, due timestamptz, said bytea, known bytea[], id uuid, matter text, words text, address text, place geometry, surely text,
    came timestamptz, phone_masked text, phone_cipher bytea, phone_hash bytea
) RETURNS TABLE (incident uuid, number text, how text, repeats integer)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
DECLARE
    ticket hotline_tickets;
    thing incidents;
    done text;
BEGIN
    PERFORM deliverer();
    PERFORM pg_advisory_xact_lock(hashtextextended('hotline ' || external, 0));
    SELECT t.* INTO ticket FROM hotline_tickets AS t WHERE t.number = external;
    IF FOUND THEN
        SELECT i.* INTO thing FROM incidents AS i WHERE i.id = ticket.incident FOR UPDATE;
        IF ticket.said_hash = ANY (known) THEN
            UPDATE hotline_tickets AS t SET due_at = coalesce(due, t.due_at) WHERE t.number = external;
            UPDATE incidents AS i SET promised_at = due WHERE i.id = thing.id AND NOT ticket.linked AND due IS NOT NULL AND i.promised_at IS DISTINCT FROM due;
            RETURN QUERY SELECT thing.id, coalesce(thing.number, thing.id::text), 'again', ticket.repeats;
            RETURN;
        END IF;
        done := 'repeated';
    ELSE
        -- Loaded before from a table of theirs, or the same matter told by somebody else.
        SELECT i.* INTO thing FROM incidents AS i WHERE i.number = external AND i.retired_at IS NULL FOR UPDATE;
        IF NOT FOUND AND place IS NOT NULL AND surely <> 'region' AND matter_of_things(matter) THEN
            SELECT i.* INTO thing FROM incidents AS i JOIN incident_states AS s ON s.code = i.state
            WHERE i.matter = $7 AND i.retired_at IS NULL AND NOT i.exercise AND NOT s.over AND i.state <> 'closed' AND i.precision <> 'region'
              AND i.reported_at > now() - interval '14 days' AND i.geom && ST_Expand(place, 0.002) AND ST_DWithin(i.geom::geography, place::geography, 100)
            ORDER BY i.geom <-> place, i.id LIMIT 1 FOR UPDATE OF i;
        END IF;
        done := CASE WHEN FOUND THEN 'linked' ELSE 'made' END;
    END IF;

    IF done <> 'made' AND thing.retired_at IS NULL AND thing.state IN ('closed', 'feedback') AND thing.closed_at > now() - interval '15 days' THEN
        -- Whoever calls again about what is closed objects.
        PERFORM incident_stepped(thing, 'object', jsonb_build_object('opinion', '热线再次来电反映'), NULL, NULL, ARRAY['reporter'], NULL);
        done := 'reopened';
    ELSIF done <> 'made' AND (thing.retired_at IS NOT NULL OR incident_over(thing)) THEN
        done := 'made';
    END IF;
    IF done = 'made' THEN
        INSERT INTO incidents (id, number, title, matter, description, address, channel, sub_source, reported_at, occurred_at, geom, precision, promised_at,
                               reporter_phone_masked, reporter_phone_cipher, reporter_phone_hash, source)
        VALUES ($6, left(external, 36) || CASE WHEN thing.id IS NULL THEN '' ELSE '-' || coalesce(ticket.repeats, 0) + 2 END,
                coalesce((SELECT m.title FROM matters AS m WHERE m.code = $7), '热线工单'), $7, words, $9, 'public', '12345', coalesce(least(came, now()), now()),
                least(came, now()), place, CASE WHEN place IS NULL THEN 'region' ELSE coalesce(surely, 'exact') END, due, $13, $14, $15, 'hotline')
        RETURNING * INTO thing;
    ELSE
        UPDATE incidents AS i SET promised_at = least(i.promised_at, due),
            description = left(concat_ws(E'\n', i.description, CASE WHEN words <> '' THEN '【热线 ' || external || '】' || words END), 4000)
        WHERE i.id = thing.id RETURNING i.* INTO thing;
    END IF;
    INSERT INTO hotline_tickets AS t (number, incident, kind, due_at, linked, account, said_hash)
    VALUES (external, thing.id, of_kind, due, done IN ('linked', 'reopened'), caller_account(), said)
    ON CONFLICT ON CONSTRAINT hotline_tickets_pkey DO UPDATE SET incident = excluded.incident, kind = excluded.kind, due_at = coalesce(excluded.due_at, t.due_at),
        repeats = t.repeats + 1, again_at = now(), said_hash = excluded.said_hash
    RETURNING t.* INTO ticket;
    RETURN QUERY SELECT thing.id, coalesce(thing.number, thing.id::text), done, ticket.repeats;
END
$$;

-- How tickets go: to whoever brought them, and to those who answer for the place. What is answered is what their caller is to be told.
CREATE OR REPLACE FUNCTION hotline_told(numbers text[], since timestamptz, over boolean, most integer)
RETURNS TABLE (number text, kind text, incident uuid, "case" text, state text, closed boolean, agency text, came_at timestamptz, due_at timestamptz,
               closed_at timestamptz, moved_at timestamptz, result text, repeats integer, linked boolean)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
BEGIN
    PERFORM deliverer();
    RETURN QUERY
    SELECT t.number, t.kind, t.incident, coalesce(i.number, i.id::text), i.state, incident_over(i),
        coalesce(organisation_title(i.lead), area_title(i.lead_area), nullif(i.handler, '')), t.came_at, t.due_at, i.closed_at, m.at,
        (SELECT l.opinion FROM incident_log AS l WHERE l.incident = i.id AND l.action IN ('answer', 'reject') ORDER BY l.number DESC LIMIT 1),
        t.repeats, t.linked
    FROM hotline_tickets AS t JOIN incidents AS own ON own.id = t.incident
    JOIN incidents AS i ON i.id = CASE WHEN own.state = 'merged' THEN coalesce(own.duplicate_of, own.id) ELSE own.id END
    CROSS JOIN LATERAL (SELECT greatest(incident_moved_at(i.id), t.came_at) AS at OFFSET 0) AS m
    WHERE (caller_right() = 'owner' OR t.account = caller_account() OR caller_holds(own.scope)) AND own.retired_at IS NULL
      AND (numbers IS NULL OR t.number = ANY (numbers)) AND (since IS NULL OR m.at >= since)
      AND (over IS NULL OR incident_over(i) = over)
    ORDER BY m.at DESC, t.number LIMIT least(most, 5000);
END
$$;

-- Whether the caller has a say in what measures at a place: who sets how long things take, and answers for it.
CREATE OR REPLACE FUNCTION thing_answered(place geometry) RETURNS void
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
BEGIN
    IF caller_right() <> 'owner' AND NOT (caller_may('times') AND EXISTS (SELECT FROM areas_at(place, now()) AS a WHERE caller_holds(a.path))) THEN
        PERFORM refuse('no say in what measures there');
    END IF;
END
$$;

-- A thing with its streams, added or changed; a stream that is named no longer is over, and what rules said of it.
CREATE OR REPLACE FUNCTION thing_registered(code text, title text, place geometry, login text, streams jsonb) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
DECLARE
    known things;
    sender uuid;
BEGIN
    PERFORM thing_answered(place);
    SELECT t.* INTO known FROM things AS t WHERE t.code = $1 FOR UPDATE;
    IF FOUND THEN
        PERFORM thing_answered(known.geom);
    END IF;
    IF login IS NOT NULL THEN
        SELECT a.id INTO sender FROM accounts AS a WHERE a.login = $4 AND a.disabled_at IS NULL;
        IF NOT FOUND THEN
            RAISE foreign_key_violation USING MESSAGE = 'no such account', TABLE = 'things', CONSTRAINT = 'things_account_fkey';
        END IF;
    END IF;
    INSERT INTO things AS t (code, title, geom, account, made_by) VALUES ($1, $2, place, sender, acting())
    ON CONFLICT ON CONSTRAINT things_pkey DO UPDATE SET title = excluded.title, geom = excluded.geom, account = excluded.account, retired_at = NULL;
    IF EXISTS (SELECT FROM jsonb_array_elements(streams) AS s JOIN datastreams AS d ON d.code = s ->> 'code' WHERE d.thing <> $1) THEN
        RAISE unique_violation USING MESSAGE = 'a stream of another thing', TABLE = 'datastreams', CONSTRAINT = 'datastreams_pkey';
    END IF;
    INSERT INTO datastreams AS d (code, thing, title, unit) SELECT s ->> 'code', $1, s ->> 'title', s ->> 'unit' FROM jsonb_array_elements(streams) AS s
    ON CONFLICT ON CONSTRAINT datastreams_pkey DO UPDATE SET title = excluded.title, unit = excluded.unit, retired_at = NULL;
    UPDATE datastreams AS d SET retired_at = now()
    WHERE d.thing = $1 AND d.retired_at IS NULL AND d.code NOT IN (SELECT s ->> 'code' FROM jsonb_array_elements(streams) AS s);
END
$$;

CREATE OR REPLACE FUNCTION thing_retired(code text) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
DECLARE
    known things;
BEGIN
    SELECT t.* INTO known FROM things AS t WHERE t.code = $1 AND t.retired_at IS NULL FOR UPDATE;
    IF NOT FOUND THEN
        RAISE no_data_found USING MESSAGE = 'no such thing';
    END IF;
    PERFORM thing_answered(known.geom);
    UPDATE things AS t SET retired_at = now() WHERE t.code = $1;
END
$$;

CREATE OR REPLACE FUNCTION observation_ruled(
    stream text, title text, matter text, above float, below float, back float, lasting interval, once_in interval, urgent boolean
) RETURNS uuid
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
DECLARE
    place geometry;
    made uuid;
BEGIN
    SELECT t.geom INTO place FROM datastreams AS d JOIN things AS t ON t.code = d.thing
    WHERE d.code = stream AND d.retired_at IS NULL AND t.retired_at IS NULL;
    IF NOT FOUND THEN
        RAISE no_data_found USING MESSAGE = 'no such stream';
    END IF;
    PERFORM thing_answered(place);
    INSERT INTO observation_rules (datastream, title, matter, above, below, back, lasting, once_in, urgent, made_by)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, acting()) RETURNING id INTO made;
    RETURN made;
END
$$;

CREATE OR REPLACE FUNCTION observation_rule_ended(wanted uuid) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
DECLARE
    place geometry;
BEGIN
    SELECT t.geom INTO place FROM observation_rules AS r JOIN datastreams AS d ON d.code = r.datastream JOIN things AS t ON t.code = d.thing
    WHERE r.id = wanted AND r.retired_at IS NULL;
    IF NOT FOUND THEN
        RAISE no_data_found USING MESSAGE = 'no such rule';
    END IF;
    PERFORM thing_answered(place);
    UPDATE observation_rules SET retired_at = now() WHERE id = wanted;
END
$$;

-- Observations, in their own order, against the rules of their streams. The streams are locked first, so that of a flood that comes on
-- several lines at once each finds the case that another has made. Only the last number of a stream is kept.
CREATE OR REPLACE FUNCTION observations_taken(given jsonb) RETURNS jsonb
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
DECLARE
    stream record;
    rule observation_rules;
    seen record;
    thing incidents;
    beyond boolean;
    at_work boolean;
    met boolean;
    made boolean;
    taken integer;
    all_taken integer := 0;
    cases jsonb := '[]';
BEGIN
    PERFORM deliverer();
    IF (SELECT count(*) FROM datastreams AS d JOIN things AS t ON t.code = d.thing
        WHERE d.code IN (SELECT o ->> 'datastream' FROM jsonb_array_elements(given) AS o) AND d.retired_at IS NULL AND t.retired_at IS NULL
          AND (t.account IS NULL OR t.account = caller_account() OR caller_right() = 'owner'))
       <> (SELECT count(DISTINCT o ->> 'datastream') FROM jsonb_array_elements(given) AS o) THEN
        RAISE no_data_found USING MESSAGE = 'no such stream';
    END IF;
    FOR stream IN
        SELECT d.*, t.title AS thing_title, t.geom FROM datastreams AS d JOIN things AS t ON t.code = d.thing
        WHERE d.code IN (SELECT o ->> 'datastream' FROM jsonb_array_elements(given) AS o) ORDER BY d.code FOR UPDATE OF d
    LOOP
        FOR rule IN SELECT r.* FROM observation_rules AS r WHERE r.datastream = stream.code AND r.retired_at IS NULL ORDER BY r.id FOR UPDATE LOOP
            SELECT i.* INTO thing FROM incidents AS own JOIN incidents AS i ON i.id = CASE WHEN own.state = 'merged' THEN own.duplicate_of ELSE own.id END
            WHERE own.id = rule.incident;
            at_work := FOUND AND thing.retired_at IS NULL AND NOT incident_over(thing);
            met := false;
            made := false;
            FOR seen IN
                SELECT DISTINCT ON (1) (o ->> 'at')::timestamptz AS at, (o ->> 'result')::float AS result FROM jsonb_array_elements(given) AS o
                WHERE o ->> 'datastream' = stream.code AND (stream.last_at IS NULL OR (o ->> 'at')::timestamptz > stream.last_at) ORDER BY 1
            LOOP
                beyond := coalesce(seen.result > rule.above, false) OR coalesce(seen.result < rule.below, false);
                IF beyond THEN
                    rule.since := coalesce(rule.since, seen.at);
                ELSIF coalesce(seen.result <= rule.above - rule.back, true) AND coalesce(seen.result >= rule.below + rule.back, true) THEN
                    rule.since := NULL;
                END IF;
                CONTINUE WHEN NOT beyond OR seen.at - rule.since < rule.lasting;
                met := true;
                IF at_work OR rule.raised_at > seen.at - rule.once_in THEN
                    rule.attached := rule.attached + 1;
                    CONTINUE;
                END IF;
                INSERT INTO incidents (id, number, title, matter, description, channel, sub_source, reported_at, occurred_at, geom, precision, urgent, source)
                SELECT n.id, 'S' || to_char(now(), 'YYMMDD') || '-' || upper(left(md5(n.id::text), 8)), rule.title, rule.matter,
                    concat(stream.thing_title, ' ', stream.title, ' ', seen.result, stream.unit, '(', to_char(seen.at, 'YYYY-MM-DD HH24:MI'), ')'),
                    'sensor', left(stream.thing, 40), now(), least(seen.at, now()), stream.geom, 'exact', rule.urgent, 'observation'
                FROM (SELECT uuid_v7() AS id OFFSET 0) AS n RETURNING * INTO thing;
                rule.incident := thing.id;
                rule.raised_at := seen.at;
                rule.attached := 1;
                at_work := true;
                made := true;
            END LOOP;
            UPDATE observation_rules AS r SET since = rule.since, incident = rule.incident, raised_at = rule.raised_at, attached = rule.attached WHERE r.id = rule.id;
            IF met THEN
                cases := cases || jsonb_build_object('rule', rule.id, 'datastream', stream.code, 'incident', rule.incident,
                    'number', coalesce(thing.number, thing.id::text), 'made', made, 'attached', rule.attached);
            END IF;
        END LOOP;
        SELECT count(DISTINCT o ->> 'at') INTO taken FROM jsonb_array_elements(given) AS o
        WHERE o ->> 'datastream' = stream.code AND (stream.last_at IS NULL OR (o ->> 'at')::timestamptz > stream.last_at);
        all_taken := all_taken + taken;
        UPDATE datastreams AS d SET observations = d.observations + taken, last_at = n.at, last = n.result FROM (
            SELECT (o ->> 'at')::timestamptz AS at, (o ->> 'result')::float AS result FROM jsonb_array_elements(given) AS o
            WHERE o ->> 'datastream' = stream.code ORDER BY 1 DESC LIMIT 1) AS n
        WHERE d.code = stream.code AND taken > 0;
    END LOOP;
    RETURN jsonb_build_object('taken', all_taken, 'late', jsonb_array_length(given) - all_taken, 'cases', cases);
END
$$;

-- Things, to those who answer for their places, and to the systems that send for them.
CREATE OR REPLACE FUNCTION things_told()
RETURNS TABLE (code text, title text, lon float, lat float, area text, login text, streams jsonb)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
BEGIN
    PERFORM deliverer();
    RETURN QUERY
    SELECT t.code, t.title, ST_X(t.geom), ST_Y(t.geom), area_title(p.path), (SELECT a.login FROM accounts AS a WHERE a.id = t.account),
        (SELECT coalesce(jsonb_agg(jsonb_build_object('code', d.code, 'title', d.title, 'unit', d.unit, 'last', d.last, 'last_at', d.last_at,
            'observations', d.observations, 'rules', (
                SELECT coalesce(jsonb_agg(jsonb_build_object('id', r.id, 'title', r.title, 'matter', r.matter, 'above', r.above, 'below', r.below, 'back', r.back,
                    'lasting', extract(epoch FROM r.lasting), 'once_in', extract(epoch FROM r.once_in), 'urgent', r.urgent, 'since', r.since,
                    'incident', r.incident, 'attached', r.attached) ORDER BY r.id), '[]')
                FROM observation_rules AS r WHERE r.datastream = d.code AND r.retired_at IS NULL)) ORDER BY d.code), '[]')
         FROM datastreams AS d WHERE d.thing = t.code AND d.retired_at IS NULL)
    FROM things AS t LEFT JOIN LATERAL (SELECT a.path FROM areas_at(t.geom, now()) AS a ORDER BY length(a.path) DESC LIMIT 1) AS p ON true
    WHERE t.retired_at IS NULL AND (caller_right() = 'owner' OR t.account IS NULL OR t.account = caller_account() OR caller_holds(p.path)) ORDER BY t.code;
END
$$;

-- The case of a request of another Open311 server. By its number there it is one here, whoever fetches it how often.
CREATE OR REPLACE FUNCTION foreign_request_taken(
    endpoint text, number text, matter text, words text, address text, place geometry, surely text, moment timestamptz
) RETURNS TABLE (incident uuid, made boolean)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
DECLARE
    known uuid;
    thing uuid := uuid_v7();
BEGIN
    PERFORM deliverer();
    PERFORM pg_advisory_xact_lock(hashtextextended($1 || E'\n' || $2, 0));
    SELECT f.incident INTO known FROM foreign_requests AS f WHERE f.endpoint = $1 AND f.number = $2;
    IF FOUND THEN
        RETURN QUERY SELECT known, false;
        RETURN;
    END IF;
    INSERT INTO incidents (id, number, title, matter, description, address, channel, sub_source, reported_at, occurred_at, geom, precision, source)
    SELECT thing, 'F' || to_char(now(), 'YYMMDD') || '-' || upper(left(md5(thing::text), 8)), coalesce(m.title, '其他平台转来'), m.code, words, $5, 'public',
        'open311', now(), least(moment, now()), place, CASE WHEN place IS NULL THEN 'region' ELSE coalesce(surely, 'exact') END, 'open311'
    FROM (SELECT) AS one LEFT JOIN matters AS m ON m.code = $3 AND m.retired_at IS NULL;
    INSERT INTO foreign_requests (endpoint, number, incident) VALUES ($1, $2, thing);
    RETURN QUERY SELECT thing, true;
END
$$;
