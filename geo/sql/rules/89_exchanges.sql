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
