-- Files with persons in them: asked for by one, allowed by another, taken once.

INSERT INTO export_moves (source, target) VALUES
    ('requested', 'approved'), ('requested', 'refused'), ('requested', 'withdrawn'), ('approved', 'taken'), ('approved', 'withdrawn')
ON CONFLICT DO NOTHING;

CREATE OR REPLACE FUNCTION export_asked(
    noun text, format text, fields text[], clear boolean, filter jsonb, purpose text, note text, expected integer
) RETURNS uuid
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
DECLARE
    made uuid;
BEGIN
    IF caller_account() IS NULL OR NOT caller_may('export') THEN
        PERFORM refuse('no right to export');
    END IF;
    INSERT INTO exports (account, appointment, persons, actor, acting_as, noun, format, fields, clear, filter, purpose, note, scope, expected)
    VALUES (caller_account(), (caller_appointment()).id, caller_persons(), acting(), coalesce(current_setting('jingwei.acting_as', true), ''),
            $1, $2, $3, $4, $5, $6, $7, string_to_array(current_setting('jingwei.scopes', true), ','), $8)
    RETURNING id INTO made;
    PERFORM export_logged(made, NULL, 'requested', '', NULL);
    RETURN made;
END
$$;

CREATE OR REPLACE FUNCTION export_logged(of_export uuid, source text, target text, opinion text, rows integer) RETURNS void
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
    INSERT INTO export_log (export, source, target, account, persons, asked_by, actor, acting_as, opinion, rows)
    SELECT e.id, $2, $3, caller_account(), caller_persons(), e.persons, acting(), coalesce(current_setting('jingwei.acting_as', true), ''), $4, $5
    FROM exports AS e WHERE e.id = $1
$$;

CREATE OR REPLACE FUNCTION export_state(of_export uuid) RETURNS text
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
    SELECT l.target FROM export_log AS l WHERE l.export = $1
       AND NOT EXISTS (SELECT FROM export_log AS later WHERE later.export = $1 AND later.source = l.target)
$$;

-- Whether a request is the caller's to look at: their own, what they may decide over, or all for who audits.
CREATE OR REPLACE FUNCTION export_seen(seen exports) RETURNS boolean
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
    SELECT caller_right() = 'owner' OR (caller_account() IS NOT NULL
       AND (seen.account = caller_account() OR caller_may('audit') OR caller_approves(seen.scope)))
$$;

CREATE OR REPLACE FUNCTION exports_told(wanted uuid, most integer) RETURNS TABLE (
    id uuid, number bigint, at timestamptz, actor text, acting_as text, name text, noun text, format text, fields text[], clear boolean,
    filter jsonb, purpose text, note text, scope text[], areas text[], expected integer, most integer, state text, decided_at timestamptz,
    decided_by text, opinion text, rows integer, ends_at timestamptz, mine boolean, decidable boolean, account uuid, appointment uuid
)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
    SELECT e.id, e.number, e.at, e.actor, e.acting_as, a.name, e.noun, e.format, e.fields, e.clear,
        e.filter, e.purpose, e.note, e.scope, ARRAY(SELECT coalesce(area_title(path), path) FROM unnest(e.scope) AS path),
        e.expected, e.most,
        CASE WHEN s.state = 'approved' AND decided.at <= now() - interval '24 hours'
               OR s.state = 'requested' AND e.at <= now() - interval '7 days' THEN 'expired' ELSE s.state END,
        decided.at, decided.actor, decided.opinion, taken.rows,
        CASE s.state WHEN 'approved' THEN decided.at + interval '24 hours' WHEN 'requested' THEN e.at + interval '7 days' END,
        e.account IS NOT DISTINCT FROM caller_account(),
        s.state = 'requested' AND e.at > now() - interval '7 days' AND caller_approves(e.scope) AND NOT e.persons && caller_persons(),
        e.account, e.appointment
    FROM exports AS e JOIN accounts AS a ON a.id = e.account
    CROSS JOIN LATERAL (SELECT export_state(e.id) AS state) AS s
    LEFT JOIN export_log AS decided ON decided.export = e.id AND decided.target IN ('approved', 'refused')
    LEFT JOIN export_log AS taken ON taken.export = e.id AND taken.target = 'taken'
    WHERE ($1 IS NULL OR e.id = $1) AND export_seen(e)
    ORDER BY e.id DESC LIMIT $2
$$;

-- One step of a request. That it may follow, that it is the first to follow and that another person decides is asked of the
-- log's constraints; here only who may take it at all.
CREATE OR REPLACE FUNCTION export_moved(wanted uuid, target text, opinion text) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
DECLARE
    asked exports;
BEGIN
    SELECT * INTO asked FROM exports AS e WHERE e.id = wanted AND export_seen(e);
    IF asked.id IS NULL THEN
        RAISE no_data_found USING MESSAGE = 'no such export';
    END IF;
    IF target IN ('approved', 'refused') AND asked.persons && caller_persons() THEN
        RAISE insufficient_privilege USING MESSAGE = 'decided by a second person', TABLE = 'export_log',
            CONSTRAINT = 'export_log_second_person_check';
    END IF;
    IF NOT (target IN ('approved', 'refused') AND caller_approves(asked.scope)
            OR target = 'withdrawn' AND asked.account IS NOT DISTINCT FROM caller_account()) THEN
        PERFORM refuse('no right over this export');
    END IF;
    IF target = 'approved' AND asked.at <= now() - interval '7 days' THEN
        RAISE unique_violation USING MESSAGE = 'asked for too long ago', TABLE = 'export_log', CONSTRAINT = 'export_log_age_check';
    END IF;
    PERFORM export_logged(wanted, CASE WHEN target = 'withdrawn' THEN export_state(wanted) ELSE 'requested' END, target, opinion, NULL);
END
$$;

-- The request by which the caller may take persons' data along at this moment: allowed, not taken yet, within a day, by the
-- same account as the same appointment. None otherwise.
CREATE OR REPLACE FUNCTION export_allowed(wanted uuid) RETURNS SETOF exports
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
    SELECT e.* FROM exports AS e JOIN export_log AS l ON l.export = e.id AND l.target = 'approved'
    WHERE e.id = $1 AND e.account = caller_account() AND e.appointment = (caller_appointment()).id AND caller_may('export')
      AND export_state(e.id) = 'approved' AND l.at > now() - interval '24 hours'
$$;

-- The same, or an error: of two who take it at once one finds it taken.
CREATE OR REPLACE FUNCTION export_held(wanted uuid) RETURNS exports
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
DECLARE
    allowed exports;
BEGIN
    SELECT * INTO allowed FROM export_allowed(wanted);
    IF allowed.id IS NULL AND EXISTS (SELECT FROM export_log WHERE export = wanted AND target = 'taken' AND account = caller_account()) THEN
        RAISE unique_violation USING MESSAGE = 'taken before', TABLE = 'export_log', CONSTRAINT = 'export_log_export_source_key';
    END IF;
    RETURN allowed;
END
$$;

-- The sealed and masked fields of some of the records, for who was allowed to take them in clear.
CREATE OR REPLACE FUNCTION export_opened(entry bigint, wanted uuid, ids uuid[])
RETURNS TABLE (id uuid, field text, clear text, cipher bytea)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
DECLARE
    allowed exports;
BEGIN
    allowed := export_held(wanted);
    IF allowed.id IS NULL OR NOT allowed.clear OR NOT trail_tells($1, 'export', allowed.noun, wanted::text) OR cardinality(ids) > allowed.most THEN
        PERFORM refuse('this export is not allowed');
    END IF;
    RETURN QUERY SELECT s.id, s.field, s.clear, s.cipher FROM sealed_fields(allowed.noun, ids, allowed.fields) AS s;
END
$$;

-- The file is written: so many rows, and never again.
CREATE OR REPLACE FUNCTION export_taken(entry bigint, wanted uuid, rows integer) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
DECLARE
    allowed exports;
BEGIN
    allowed := export_held(wanted);
    IF allowed.id IS NULL OR NOT trail_tells($1, 'export', allowed.noun, wanted::text) THEN
        PERFORM refuse('this export is not allowed');
    END IF;
    PERFORM export_logged(wanted, 'approved', 'taken', '', rows);
END
$$;
