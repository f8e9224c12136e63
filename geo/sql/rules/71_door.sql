-- The door: what is asked before it is known who asks. Called by a login that may do nothing else.

CREATE OR REPLACE FUNCTION account_asked(wanted text)
RETURNS TABLE (id uuid, password_hash text, locked boolean, totp_cipher bytea, totp_at timestamptz)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
    SELECT c.id, c.password_hash, coalesce(c.locked_until > now(), false), c.totp_cipher, c.totp_at
    FROM accounts AS c WHERE c.login = lower(wanted) AND c.kind = 'person' AND c.disabled_at IS NULL
$$;

DROP FUNCTION IF EXISTS account_of_subject(text);
CREATE FUNCTION account_of_subject(wanted text) RETURNS TABLE (id uuid, second_factor boolean)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
    SELECT c.id, c.totp_at IS NOT NULL FROM accounts AS c WHERE c.subject = wanted AND c.kind = 'person' AND c.disabled_at IS NULL
$$;

-- Whoever has just proved themselves may bind a subject, once. An old session might be another's hand by now, and would stay for
-- good as the way in that it made.
DROP FUNCTION IF EXISTS subject_set(uuid, text);
CREATE OR REPLACE FUNCTION subject_linked(wanted bytea, told text) RETURNS boolean
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
DECLARE
    holder uuid;
BEGIN
    UPDATE accounts AS c SET subject = told FROM sessions AS s
    WHERE s.hash = wanted AND s.ended_at IS NULL AND s.ends_at > now() AND s.seen_at + s.idle > now()
      AND s.opened_at > now() - interval '15 minutes' AND c.id = s.account AND c.disabled_at IS NULL AND c.subject IS NULL
    RETURNING c.id INTO holder;
    IF holder IS NULL THEN
        RETURN false;
    END IF;
    PERFORM account_journalled(holder, 'change');
    RETURN true;
END
$$;

-- Five failures in a row lock an account for half an hour (GB/T 22239). Returns whether this was the fifth.
CREATE OR REPLACE FUNCTION sign_in_failed(of_account uuid) RETURNS boolean
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
    UPDATE accounts SET failures = (failures + 1) % 5,
        locked_until = CASE WHEN failures + 1 >= 5 THEN now() + interval '30 minutes' ELSE locked_until END
    WHERE id = of_account RETURNING failures = 0
$$;

-- A session, acting as what the last one did, where that still holds; else as the highest of what its holder is.
CREATE OR REPLACE FUNCTION session_opened(of_account uuid, hash bytea, idle interval, lasting interval, origin text) RETURNS uuid
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
DECLARE
    opened uuid;
BEGIN
    UPDATE accounts SET failures = 0, seen_at = now() WHERE id = of_account AND disabled_at IS NULL;
    IF NOT FOUND THEN
        RAISE no_data_found USING MESSAGE = 'no such account';
    END IF;
    INSERT INTO sessions (hash, account, appointment, idle, ends_at, origin)
    SELECT $2, of_account, (
            SELECT a.id FROM appointments AS a JOIN roles AS r ON r.code = a.role
            WHERE a.account = of_account AND in_office(a)
            ORDER BY a.id = (SELECT s.appointment FROM sessions AS s WHERE s.account = of_account ORDER BY s.opened_at DESC LIMIT 1) DESC NULLS LAST,
                r.rank DESC, a.valid_from, a.id LIMIT 1),
        $3, now() + lasting, $5
    RETURNING id INTO opened;
    RETURN opened;
END
$$;

-- All that binds a request, of one account as one appointment: nothing of either when it does not hold at this moment. A
-- stand-in holds as long as the appointment that was lent does. In plpgsql, which keeps its plan: it is asked at every request.
CREATE OR REPLACE FUNCTION caller_of(of_account uuid, by_appointment uuid) RETURNS TABLE (
    account uuid, login text, name text, totp boolean, appointment uuid, role text, categories text[], scope text[], others jsonb
)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    WITH held AS (
        SELECT a.* FROM appointments AS a
        WHERE a.account = of_account AND in_office(a)
          AND (a.stands_in_for IS NULL OR EXISTS (SELECT FROM appointments AS lent WHERE lent.id = a.stands_in_for AND in_office(lent)))
    )
    SELECT c.id, c.login, c.name, c.totp_at IS NOT NULL, h.id, h.role,
        ARRAY(SELECT DISTINCT code FROM matters WHERE code = ANY (h.categories) OR parent = ANY (h.categories)), coalesce(areas_of(h.id), '{}'),
        coalesce((SELECT jsonb_agg(jsonb_build_object('id', held.id, 'role', held.role, 'areas', areas_of(held.id), 'names',
                ARRAY(SELECT coalesce(area_title(path), path) FROM unnest(areas_of(held.id)) AS path),
                'stands_in', held.stands_in_for IS NOT NULL) ORDER BY held.valid_from, held.id) FROM held), '[]')
    FROM accounts AS c LEFT JOIN held AS h ON h.id = by_appointment
    WHERE c.id = of_account AND c.disabled_at IS NULL;
END
$$;

-- Seen is written once a minute: every request of a map would be a write otherwise.
CREATE OR REPLACE FUNCTION caller_of_session(wanted bytea) RETURNS TABLE (
    session uuid, account uuid, login text, name text, totp boolean, appointment uuid, role text, categories text[], scope text[], others jsonb
)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
DECLARE
    found sessions;
BEGIN
    SELECT * INTO found FROM sessions AS s
    WHERE s.hash = wanted AND s.ended_at IS NULL AND s.ends_at > now() AND s.seen_at + s.idle > now();
    IF found.id IS NULL THEN
        RETURN;
    END IF;
    IF found.seen_at < now() - interval '1 minute' THEN
        UPDATE sessions SET seen_at = now() WHERE id = found.id;
    END IF;
    RETURN QUERY SELECT found.id, c.* FROM caller_of(found.account, found.appointment) AS c;
END
$$;

CREATE OR REPLACE FUNCTION caller_of_token(wanted bytea) RETURNS TABLE (
    account uuid, login text, name text, totp boolean, appointment uuid, role text, categories text[], scope text[], others jsonb
)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
DECLARE
    found tokens;
BEGIN
    SELECT * INTO found FROM tokens AS t WHERE t.hash = wanted AND t.ended_at IS NULL AND t.ends_at > now();
    IF found.id IS NULL THEN
        RETURN;
    END IF;
    IF found.used_at IS NULL OR found.used_at < now() - interval '1 minute' THEN
        UPDATE tokens SET used_at = now() WHERE id = found.id;
    END IF;
    -- A token is its appointment: when that has ended, so has the token.
    RETURN QUERY SELECT c.* FROM caller_of(found.account, found.appointment) AS c WHERE c.appointment IS NOT NULL;
END
$$;

CREATE OR REPLACE FUNCTION session_closed(wanted bytea) RETURNS void
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
    UPDATE sessions SET ended_at = now() WHERE hash = wanted AND ended_at IS NULL
$$;

CREATE OR REPLACE FUNCTION acting_chosen(wanted bytea, by_appointment uuid) RETURNS boolean
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
    UPDATE sessions SET appointment = by_appointment
    WHERE hash = wanted AND ended_at IS NULL
      AND (by_appointment IS NULL OR EXISTS (SELECT FROM caller_of(sessions.account, by_appointment) AS c WHERE c.appointment IS NOT NULL))
    RETURNING true
$$;

CREATE OR REPLACE FUNCTION slip_asked(wanted bytea) RETURNS TABLE (account uuid, login text, name text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
    SELECT c.id, c.login, c.name FROM slips AS s JOIN accounts AS c ON c.id = s.account
    WHERE s.hash = wanted AND s.used_at IS NULL AND s.ends_at > now() AND c.disabled_at IS NULL
$$;

-- The holder of a slip sets a password: once, and whatever was open or locked before is no more. The second factor goes too,
-- for a slip is what somebody gets who has lost the phone.
CREATE OR REPLACE FUNCTION slip_used(wanted bytea, password text) RETURNS uuid
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
DECLARE
    holder uuid;
BEGIN
    UPDATE slips SET used_at = now() WHERE hash = wanted AND used_at IS NULL AND ends_at > now() RETURNING account INTO holder;
    IF holder IS NOT NULL THEN
        UPDATE accounts SET totp_cipher = NULL, totp_at = NULL, locked_until = NULL WHERE id = holder;
        PERFORM password_changed(holder, password);
    END IF;
    RETURN holder;
END
$$;

CREATE OR REPLACE FUNCTION password_changed(of_account uuid, password text) RETURNS void
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
    UPDATE accounts SET password_hash = password, password_at = now(), failures = 0 WHERE id = of_account;
    UPDATE sessions SET ended_at = now() WHERE account = of_account AND ended_at IS NULL;
    SELECT account_journalled(of_account, 'change')
$$;

CREATE OR REPLACE FUNCTION totp_set(of_account uuid, cipher bytea) RETURNS void
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
    UPDATE accounts SET totp_cipher = cipher, totp_at = NULL, totp_step = 0 WHERE id = of_account;
    SELECT account_journalled(of_account, 'change')
$$;

-- Whether a code of this step may still be used: each once, and none older than the last.
CREATE OR REPLACE FUNCTION totp_used(of_account uuid, step bigint) RETURNS boolean
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
    UPDATE accounts SET totp_step = step, totp_at = coalesce(totp_at, now()) WHERE id = of_account AND totp_step < step RETURNING true
$$;
