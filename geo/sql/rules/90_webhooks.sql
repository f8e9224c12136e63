-- The outbox: what systems of others are told of cases. Filled from the change log as the relay has numbered it.

CREATE OR REPLACE FUNCTION webhooks_kept() RETURNS void
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
BEGIN
    IF NOT caller_may('accounts') THEN
        PERFORM refuse('no right to webhooks');
    END IF;
END
$$;

CREATE OR REPLACE FUNCTION webhook_made(wanted uuid, title text, url text, cipher bytea, scope text, events text[]) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
BEGIN
    PERFORM webhooks_kept();
    IF NOT EXISTS (SELECT FROM area_paths AS p WHERE p.path = $5) THEN
        RAISE foreign_key_violation USING MESSAGE = 'no such area', TABLE = 'webhooks', CONSTRAINT = 'webhooks_scope_fkey';
    END IF;
    INSERT INTO webhooks (id, title, url, secret_cipher, scope, events, reached, made_by)
    VALUES ($1, $2, $3, $4, $5, $6, coalesce((SELECT r.number FROM relay AS r), 0), acting());
END
$$;

-- What waits for a system that is told no more is given up.
CREATE OR REPLACE FUNCTION webhook_ended(wanted uuid) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
BEGIN
    PERFORM webhooks_kept();
    UPDATE webhooks SET ended_at = now() WHERE id = wanted AND ended_at IS NULL;
    IF NOT FOUND THEN
        RAISE no_data_found USING MESSAGE = 'no such webhook';
    END IF;
    UPDATE webhook_deliveries SET next_at = NULL, dead_at = now(), answer = 'ended' WHERE webhook = wanted AND next_at IS NOT NULL;
END
$$;

CREATE OR REPLACE FUNCTION webhooks_told()
RETURNS TABLE (id uuid, title text, url text, scope text, area text, events text[], made_by text, made_at timestamptz, ended_at timestamptz,
               waiting bigint, taken bigint, dead bigint)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
BEGIN
    PERFORM webhooks_kept();
    RETURN QUERY
    SELECT w.id, w.title, w.url, w.scope::text, area_title(w.scope), w.events, w.made_by, w.made_at, w.ended_at,
        count(d.next_at), count(d.delivered_at), count(d.dead_at)
    FROM webhooks AS w LEFT JOIN webhook_deliveries AS d ON d.webhook = w.id GROUP BY w.id ORDER BY w.ended_at IS NOT NULL, w.id;
END
$$;

CREATE OR REPLACE FUNCTION webhook_deliveries_told(dead boolean, most integer)
RETURNS TABLE (id uuid, webhook uuid, title text, event text, incident uuid, at timestamptz, tries integer, next_at timestamptz, dead_at timestamptz, answer text)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
BEGIN
    PERFORM webhooks_kept();
    RETURN QUERY
    SELECT d.id, d.webhook, w.title, d.event, d.incident, d.at, d.tries, d.next_at, d.dead_at, d.answer
    FROM webhook_deliveries AS d JOIN webhooks AS w ON w.id = d.webhook
    WHERE CASE WHEN dead THEN d.dead_at IS NOT NULL ELSE d.next_at IS NOT NULL AND d.tries > 0 END
    ORDER BY d.id DESC LIMIT least(most, 1000);
END
$$;

CREATE OR REPLACE FUNCTION webhook_retried(wanted uuid) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
BEGIN
    PERFORM webhooks_kept();
    UPDATE webhook_deliveries AS d SET next_at = now(), dead_at = NULL, tries = 0 FROM webhooks AS w
    WHERE d.id = wanted AND d.dead_at IS NOT NULL AND w.id = d.webhook AND w.ended_at IS NULL;
    IF NOT FOUND THEN
        RAISE no_data_found USING MESSAGE = 'no such delivery';
    END IF;
END
$$;

-- What was published since the last look, a row for each system that asked for it. A change is looked at once: how far each system's
-- outbox has come moves on in the same transaction. Whole batches are no news of a case, and what is destroyed is told to nobody.
CREATE OR REPLACE FUNCTION webhooks_gathered(most integer) RETURNS integer
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
DECLARE
    hook webhooks;
    until bigint;
    added integer;
    total integer := 0;
BEGIN
    FOR hook IN
        SELECT w.* FROM webhooks AS w WHERE w.ended_at IS NULL AND w.reached < (SELECT r.number FROM relay AS r) ORDER BY w.id FOR UPDATE SKIP LOCKED
    LOOP
        SELECT least(hook.reached + most, r.number) INTO until FROM relay AS r;
        WITH fresh AS (
            SELECT c.number, c.feature, c.at, CASE
                WHEN c.operation = 'add' THEN 'reported'
                WHEN c.patch ? 'closed_at' AND c.patch ->> 'closed_at' IS NULL THEN 'closed'
                WHEN c.patch ? 'state' THEN 'moved' ELSE 'changed' END AS event
            FROM changes AS c JOIN incidents AS i ON i.id = c.feature AND NOT i.exercise
            WHERE c.number > hook.reached AND c.number <= until AND c.noun = 'incidents' AND c.operation <> 'destroy'
              AND ((c.scope_after COLLATE "C" >= hook.scope AND c.scope_after COLLATE "C" < hook.scope || '~')
                OR (c.scope_before COLLATE "C" >= hook.scope AND c.scope_before COLLATE "C" < hook.scope || '~'))
        )
        INSERT INTO webhook_deliveries (webhook, change, event, incident, at, next_at)
        SELECT hook.id, f.number, f.event, f.feature, f.at, now() FROM fresh AS f WHERE f.event = ANY (hook.events) ORDER BY f.number
        ON CONFLICT ON CONSTRAINT webhook_deliveries_webhook_change_key DO NOTHING;
        GET DIAGNOSTICS added = ROW_COUNT;
        total := total + added;
        UPDATE webhooks SET reached = until WHERE id = hook.id;
    END LOOP;
    -- What was taken is of no use after a month.
    DELETE FROM webhook_deliveries WHERE id IN (SELECT d.id FROM webhook_deliveries AS d WHERE d.delivered_at < now() - interval '30 days' LIMIT 1000);
    RETURN total;
END
$$;

-- What is due of the system whose turn it is, with what everybody may know of each case now. For two minutes nobody else takes it.
CREATE OR REPLACE FUNCTION webhook_claimed(most integer)
RETURNS TABLE (id uuid, webhook uuid, url text, secret bytea, event text, tries integer, told jsonb)
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
    WITH turn AS (
        SELECT d.webhook FROM webhook_deliveries AS d WHERE d.next_at <= now() ORDER BY d.next_at, d.id LIMIT 1
    ), due AS (
        SELECT d.id FROM webhook_deliveries AS d JOIN turn ON turn.webhook = d.webhook WHERE d.next_at <= now()
        ORDER BY d.change LIMIT most FOR UPDATE OF d SKIP LOCKED
    ), leased AS (
        UPDATE webhook_deliveries AS d SET next_at = now() + interval '2 minutes' FROM due WHERE d.id = due.id RETURNING d.*
    )
    SELECT d.id, d.webhook, w.url, w.secret_cipher, d.event, d.tries, jsonb_build_object(
        'id', d.id, 'event', d.event, 'at', d.at, 'change', d.change, 'incident', CASE
            WHEN i.id IS NULL OR i.retired_at IS NOT NULL THEN jsonb_build_object('id', d.incident, 'retired', true)
            ELSE jsonb_build_object('id', i.id, 'number', i.number, 'title', i.title, 'matter', i.matter, 'state', i.state, 'grade', i.grade, 'urgent', i.urgent,
                'scope', i.scope, 'area', area_title(i.scope), 'agency', coalesce(organisation_title(i.lead), area_title(i.lead_area), nullif(i.handler, '')),
                'reported_at', i.reported_at, 'due_at', i.due_at, 'closed_at', i.closed_at, 'version', i.version) END)
    FROM leased AS d JOIN webhooks AS w ON w.id = d.webhook LEFT JOIN incidents AS i ON i.id = d.incident
    ORDER BY d.change
$$;

-- What came of a try. What failed waits, and all else of that system as long.
CREATE OR REPLACE FUNCTION webhook_answered(wanted uuid, taken boolean, said text, count integer, dead boolean, later interval) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
DECLARE
    done webhook_deliveries;
BEGIN
    UPDATE webhook_deliveries AS d SET tries = count, answer = said, delivered_at = CASE WHEN taken THEN now() END,
        dead_at = CASE WHEN NOT taken AND dead THEN now() END, next_at = CASE WHEN NOT taken AND NOT dead THEN now() + later END
    WHERE d.id = wanted AND d.next_at IS NOT NULL RETURNING d.* INTO done;
    IF FOUND AND NOT taken THEN
        UPDATE webhook_deliveries AS d SET next_at = now() + later
        WHERE d.webhook = done.webhook AND d.id <> wanted AND d.next_at < now() + greatest(later, interval '2 minutes');
    END IF;
END
$$;
