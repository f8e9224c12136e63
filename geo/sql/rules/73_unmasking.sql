-- What is sealed or masked, shown to one person for a reason: never without a row of the trail, and open to review.

-- The account that acts and, where it stands in, the one that lent it the appointment: one person when a second is asked for.
CREATE OR REPLACE FUNCTION caller_persons() RETURNS uuid[]
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
    SELECT array_agg(person ORDER BY person) FROM (
        SELECT caller_account() AS person
        UNION SELECT lent.account FROM appointments AS lent WHERE lent.id = (caller_appointment()).stands_in_for
    ) AS persons WHERE person IS NOT NULL
$$;

-- Whether the caller may decide over what happens in all of these areas.
CREATE OR REPLACE FUNCTION caller_approves(paths text[]) RETURNS boolean
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
    SELECT caller_account() IS NOT NULL AND caller_may('approve')
       AND ((caller_appointment()).role = 'security_admin'
            OR (paths <> '{}' AND (SELECT bool_and(caller_holds(path)) FROM unnest(paths) AS path)))
$$;

CREATE OR REPLACE FUNCTION caller_audience() RETURNS integer
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
    SELECT coalesce((SELECT audience FROM roles WHERE code = (caller_appointment()).role), 0)
$$;

-- Whether the trail tells that the caller asks for just this, just now. The row was committed before, by a login that can
-- do nothing else: no trail, no answer.
CREATE OR REPLACE FUNCTION trail_tells(entry bigint, action text, noun text, feature text) RETURNS boolean
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
    SELECT EXISTS (
        SELECT FROM trail AS t WHERE t.id = $1 AND t.actor = acting() AND t.action = $2 AND t.noun = $3 AND t.feature = $4
           AND t.at > clock_timestamp() - interval '1 minute')
$$;

-- The sealed and masked fields of a record in the caller's hand: names in clear, numbers as ciphers that the server opens.
-- Nothing when the record is not there for the caller. Thirty an hour and account.
CREATE OR REPLACE FUNCTION unmasked(entry bigint, noun text, feature uuid, fields text[], purpose text, note text)
RETURNS TABLE (unmasking uuid, field text, clear text, cipher bytea)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
DECLARE
    lately record;
    place text;
    made uuid;
BEGIN
    IF caller_account() IS NULL OR NOT caller_may('unmask') THEN
        PERFORM refuse('no right to unmask');
    END IF;
    IF NOT trail_tells($1, 'unmask', $2, $3::text) THEN
        PERFORM refuse('nothing is unmasked that the trail does not tell of');
    END IF;
    SELECT s.scope INTO place FROM sealed_fields($2, ARRAY[$3], $4) AS s LIMIT 1;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    -- One after the other for an account, or two at once would both be the thirtieth.
    PERFORM FROM accounts AS a WHERE a.id = caller_account() FOR NO KEY UPDATE;
    SELECT count(*) AS number, min(u.at) AS first INTO lately FROM unmaskings AS u
    WHERE u.account = caller_account() AND u.at > now() - interval '1 hour';
    IF lately.number >= 30 THEN
        RAISE configuration_limit_exceeded USING MESSAGE = 'thirty unmaskings an hour', TABLE = 'unmaskings',
            CONSTRAINT = 'unmaskings_hour_check', HINT = ceil(extract(epoch FROM lately.first + interval '1 hour' - now()))::text;
    END IF;
    INSERT INTO unmaskings (account, persons, actor, acting_as, noun, feature, fields, purpose, note, scope, entry)
    VALUES (caller_account(), caller_persons(), acting(), coalesce(current_setting('jingwei.acting_as', true), ''), $2, $3, $4, $5, $6,
            place, $1)
    RETURNING id INTO made;
    RETURN QUERY SELECT made, s.field, s.clear, s.cipher FROM sealed_fields($2, ARRAY[$3], $4) AS s;
END
$$;

-- Whether an unmasking is the caller's to look at: their own, what they may decide over, or all for who audits.
CREATE OR REPLACE FUNCTION unmasking_seen(seen unmaskings) RETURNS boolean
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
    SELECT caller_account() IS NOT NULL
       AND (seen.account = caller_account() OR caller_may('audit') OR caller_approves(ARRAY[seen.scope]))
$$;

CREATE OR REPLACE FUNCTION unmaskings_told(waiting boolean, before uuid, most integer) RETURNS TABLE (
    id uuid, at timestamptz, actor text, acting_as text, name text, noun text, feature uuid, fields text[], purpose text, note text,
    scope text, area text, reviewed_at timestamptz, reviewed_by text, verdict text, opinion text, reviewable boolean
)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
    SELECT u.id, u.at, u.actor, u.acting_as, a.name, u.noun, u.feature, u.fields, u.purpose, u.note,
        u.scope, coalesce(area_title(u.scope), u.scope), u.reviewed_at, u.reviewed_by, u.verdict, u.opinion,
        u.reviewed_at IS NULL AND NOT u.persons && caller_persons() AND (caller_may('audit') OR caller_approves(ARRAY[u.scope]))
    FROM unmaskings AS u JOIN accounts AS a ON a.id = u.account
    WHERE ($1 IS NULL OR $1 = (u.reviewed_at IS NULL)) AND ($2 IS NULL OR u.id < $2) AND unmasking_seen(u)
    ORDER BY u.id DESC LIMIT $3
$$;

-- How many wait for a second pair of eyes, and how many of them for longer than so many days.
CREATE OR REPLACE FUNCTION unmaskings_waiting(days integer) RETURNS TABLE (waiting bigint, overdue bigint)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
    SELECT count(*), count(*) FILTER (WHERE u.at < now() - make_interval(days => $1))
    FROM unmaskings AS u WHERE u.reviewed_at IS NULL AND unmasking_seen(u)
$$;

-- A second person says whether it was in order. Once.
CREATE OR REPLACE FUNCTION unmasking_reviewed(wanted uuid, verdict text, opinion text) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
DECLARE
    found unmaskings;
BEGIN
    SELECT * INTO found FROM unmaskings AS u WHERE u.id = wanted AND unmasking_seen(u) FOR UPDATE;
    IF found.id IS NULL THEN
        RAISE no_data_found USING MESSAGE = 'no such unmasking';
    END IF;
    IF found.persons && caller_persons() THEN
        RAISE insufficient_privilege USING MESSAGE = 'reviewed by a second person', TABLE = 'unmaskings',
            CONSTRAINT = 'unmaskings_second_person_check';
    END IF;
    IF found.reviewed_at IS NOT NULL THEN
        RAISE unique_violation USING MESSAGE = 'reviewed before', TABLE = 'unmaskings', CONSTRAINT = 'unmaskings_review_check';
    END IF;
    UPDATE unmaskings AS u SET reviewed_at = now(), reviewers = caller_persons(), reviewed_by = acting(), verdict = $2, opinion = $3
    WHERE u.id = wanted;
END
$$;
