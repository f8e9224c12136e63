-- Reporting by those who may not read back what they report: the public, a resident, a worker across a border.

-- Stores a report as an incident and its receipt. The channel is that of who asks; what is sealed comes sealed.
CREATE OR REPLACE FUNCTION incident_reported(
    id uuid, ticket text, code_hash bytea, title text, matter text, description text, address text, place geometry,
    phone_masked text, phone_cipher bytea, phone_hash bytea
) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
DECLARE
    resident constant boolean := caller_right() IN ('public', 'own');
BEGIN
    INSERT INTO incidents (id, number, title, matter, description, address, channel, reported_at, occurred_at, geom, precision,
                           reporter_phone_masked, reporter_phone_cipher, reporter_phone_hash, owner, source)
    VALUES ($1, $2, $4, $5, $6, $7, CASE WHEN resident THEN 'public' ELSE 'patrol' END, now(), now(), place,
            CASE WHEN place IS NULL THEN 'region' ELSE 'exact' END, $9, $10, $11,
            CASE WHEN caller_right() = 'own' THEN caller_account() END, 'report');
    INSERT INTO receipts (ticket, code_hash, incident) VALUES ($2, $3, $1);
END
$$;

-- How far a report has got, to whoever has ticket and code. What it said is not repeated: the paper may have been lost.
CREATE OR REPLACE FUNCTION report_followed(wanted text, hash bytea)
RETURNS TABLE (ticket text, state text, reported_at timestamptz, due_at timestamptz, closed_at timestamptz, handler text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
    SELECT r.ticket, i.state, i.reported_at, i.due_at, i.closed_at, i.handler
    FROM receipts AS r JOIN incidents AS i ON i.id = r.incident
    WHERE r.ticket = wanted AND r.code_hash = hash AND i.retired_at IS NULL
$$;
