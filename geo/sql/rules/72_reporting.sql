-- Reporting by those who may not read back what they report: the public, a resident, a worker across a border.

-- Stores a report as an incident and its receipt. `surely`: how precise its place is, where that is of its address. A title is everybody's to read, and what a resident writes may accuse somebody
-- by name: until a worker has given it a title it has that of its matter, and their words stand first in the description, which
-- is for workers. The channel is that of who asks; what is sealed comes sealed. Sent again
-- under the key of the same device it makes nothing new, and the first ticket is told.
DROP FUNCTION IF EXISTS incident_reported(uuid, text, bytea, text, text, text, text, geometry, text, bytea, bytea, text, text, bytea);
CREATE OR REPLACE FUNCTION incident_reported(
    id uuid, ticket text, code_hash bytea, title text, matter text, description text, address text, place geometry, surely text,
    phone_masked text, phone_cipher bytea, phone_hash bytea, device text, again text, said bytea
) RETURNS TABLE (given text, replayed boolean)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
DECLARE
    resident constant boolean := caller_right() IN ('public', 'own');
    known record;
BEGIN
    IF again IS NOT NULL THEN
        -- Two at once wait for each other, so that one makes the report and the other is told of it.
        PERFORM pg_advisory_xact_lock(hashtextextended(device || E'\n' || again, 0));
        SELECT i.route, i.body_hash, r.ticket INTO known
        FROM idempotency AS i LEFT JOIN receipts AS r ON r.incident = i.feature AND NOT r.follows WHERE i.actor = device AND i.key = again;
        IF FOUND THEN
            IF known.route <> '/reports' OR known.body_hash <> said THEN
                RAISE unique_violation USING MESSAGE = 'another report under the same key', TABLE = 'idempotency', CONSTRAINT = 'idempotency_key';
            END IF;
            RETURN QUERY SELECT known.ticket, true;
            RETURN;
        END IF;
    END IF;
    INSERT INTO incidents (id, number, title, matter, description, address, channel, reported_at, occurred_at, geom, precision,
                           reporter_phone_masked, reporter_phone_cipher, reporter_phone_hash, owner, source)
    VALUES ($1, $2, CASE WHEN resident THEN coalesce((SELECT m.title FROM matters AS m WHERE m.code = $5), '群众举报') ELSE $4 END, $5,
            CASE WHEN resident THEN concat_ws(E'\n', $4, $6) ELSE $6 END, $7, CASE WHEN resident THEN 'public' ELSE 'patrol' END, now(), now(), place,
            CASE WHEN place IS NULL THEN 'region' ELSE coalesce(surely, 'exact') END, $10, $11, $12,
            CASE WHEN caller_right() = 'own' THEN caller_account() END, 'report');
    INSERT INTO receipts (ticket, code_hash, incident) VALUES ($2, $3, $1);
    IF again IS NOT NULL THEN
        INSERT INTO idempotency (actor, key, route, body_hash, status, noun, feature) VALUES (device, again, '/reports', said, 201, 'incidents', $1);
    END IF;
    RETURN QUERY SELECT $2, false;
END
$$;

-- How far a report has got, to whoever has ticket and code. What it said is not repeated: the paper may have been lost.
DROP FUNCTION IF EXISTS report_followed(text, bytea);
CREATE OR REPLACE FUNCTION report_followed(wanted text, hashes bytea[])
RETURNS TABLE (ticket text, state text, reported_at timestamptz, due_at timestamptz, closed_at timestamptz, handler text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
    SELECT r.ticket, i.state, i.reported_at, i.due_at, i.closed_at, i.handler
    FROM receipts AS r JOIN incidents AS i ON i.id = r.incident
    WHERE r.ticket = wanted AND r.code_hash = ANY (hashes) AND i.retired_at IS NULL
$$;
