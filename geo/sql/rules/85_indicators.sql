-- How cases went, counted: by area, by body, by matter, by channel, in a period that is half-open. Numerators and denominators
-- only; what is made of them is said in geo/indicators.py. Nobody's name is an axis.

DROP FUNCTION IF EXISTS indicator_key(incidents, text);

-- Of a path that the caller answers for; exercises are no cases. A case is due when its handling is, by its clock; what was loaded
-- without one, when its file said. Late but exempt after an appeal counts as in time. Of what is located to a region only nobody knows the
-- community, and it is counted under none.
DROP FUNCTION IF EXISTS indicator_counts(text, timestamptz, timestamptz, text);
CREATE FUNCTION indicator_counts(of_path text, since timestamptz, until timestamptz, axis text)
RETURNS TABLE (
    key text, reported bigint, filed bigint, rejected bigint, duplicates bigint, should_close bigint, closed bigint, closed_in_time bigint,
    urgent_should_close bigint, urgent_closed bigint, urgent_closed_in_time bigint, dispatches bigint, returns bigint, handled bigint,
    reworked bigint, checked bigint, passed bigint, rated bigint, satisfied bigint, forced bigint, opened_before bigint, ended bigint, open_after bigint,
    accept_due bigint, accept_in_time bigint, verify_due bigint, verify_in_time bigint, dispatch_due bigint, dispatch_in_time bigint, check_due bigint, check_in_time bigint, close_due bigint, close_in_time bigint, feedback_due bigint, feedback_in_time bigint
)
-- Planned for the period that is asked for: of a month in a year it reads a twelfth, of the whole everything.
LANGUAGE plpgsql STABLE SECURITY DEFINER SET plan_cache_mode = force_custom_plan SET jit = off SET work_mem = '32MB' SET search_path = jingwei, public, pg_temp AS $$
#variable_conflict use_column
BEGIN
    IF NOT caller_holds(of_path) THEN
        RETURN;
    END IF;
    RETURN QUERY
    WITH timed AS MATERIALIZED (
        -- By the last clock of its handling, where that is due in the period.
        SELECT c.incident, c.due_at, c.exempt OR c.ended_at <= c.due_at AS in_time FROM incident_clocks AS c
        WHERE c.clock = 'handle' AND c.due_at >= since AND c.due_at < until
          AND c.number = (SELECT max(own.number) FROM incident_clocks AS own WHERE own.incident = c.incident AND own.clock = 'handle')
    ), at_hand AS MATERIALIZED (
        -- What somebody had to do with in the period, of all that was ever reported.
        SELECT i.id, i.state, i.reported_at, i.closed_at, i.urgent, i.forced, i.rating, i.duplicate_of, i.due_at, i.steps, i.scope, i.precision, i.lead,
            i.lead_area, i.handler, i.matter, i.channel
        FROM incidents AS i
        WHERE i.reported_at < until AND (i.closed_at IS NULL OR i.closed_at >= since)
          AND i.scope COLLATE "C" >= of_path AND i.scope COLLATE "C" < of_path || '~' AND i.retired_at IS NULL AND NOT i.exercise
    ), near AS (
        SELECT i.*, k.due_at AS told_due, k.in_time AS told_in_time FROM at_hand AS i LEFT JOIN timed AS k ON k.incident = i.id AND i.steps IS NOT NULL
        UNION ALL
        -- And what was due in it, and closed before it began: by its clock, or as it was loaded.
        SELECT i.id, i.state, i.reported_at, i.closed_at, i.urgent, i.forced, i.rating, i.duplicate_of, i.due_at, i.steps, i.scope, i.precision, i.lead,
            i.lead_area, i.handler, i.matter, i.channel, k.due_at, k.in_time
        FROM (SELECT t.* FROM timed AS t WHERE NOT EXISTS (SELECT FROM at_hand AS a WHERE a.id = t.incident)) AS k JOIN incidents AS i ON i.id = k.incident
        WHERE i.reported_at < until AND i.closed_at < since AND i.steps IS NOT NULL
          AND i.scope COLLATE "C" >= of_path AND i.scope COLLATE "C" < of_path || '~' AND i.retired_at IS NULL AND NOT i.exercise
        UNION ALL
        SELECT i.id, i.state, i.reported_at, i.closed_at, i.urgent, i.forced, i.rating, i.duplicate_of, i.due_at, i.steps, i.scope, i.precision, i.lead,
            i.lead_area, i.handler, i.matter, i.channel, NULL, NULL
        FROM incidents AS i
        WHERE i.steps IS NULL AND i.due_at >= since AND i.due_at < until AND i.reported_at < until AND i.closed_at < since
          AND i.scope COLLATE "C" >= of_path AND i.scope COLLATE "C" < of_path || '~' AND i.retired_at IS NULL AND NOT i.exercise
    ), cases AS MATERIALIZED (
        SELECT i.id, i.state, i.reported_at, i.closed_at, i.urgent, i.forced, i.rating, i.duplicate_of,
            coalesce(i.told_due, CASE WHEN i.due_at >= since AND i.due_at < until AND (i.steps IS NULL OR NOT EXISTS (
                SELECT FROM incident_clocks AS c WHERE c.incident = i.id AND c.clock = 'handle')) THEN i.due_at END) IS NOT NULL
                AND i.state NOT IN ('rejected', 'cancelled', 'merged') AS due,
            coalesce(i.told_in_time, i.closed_at <= i.due_at) AS in_time,
            CASE axis
                WHEN 'body' THEN coalesce(i.lead::text, i.lead_area, i.handler, '') WHEN 'matter' THEN coalesce(i.matter, '') WHEN 'channel' THEN i.channel WHEN 'all' THEN ''
                ELSE CASE WHEN i.precision IS DISTINCT FROM 'region' AND length(i.scope) >= path_width(axis) THEN left(i.scope, path_width(axis)) ELSE '' END
            END AS key,
            CASE WHEN i.state IN ('rejected', 'cancelled', 'merged') THEN coalesce(
                (SELECT last.at FROM incident_log AS last WHERE last.incident = i.id AND last.number = i.steps), i.reported_at) ELSE i.closed_at END AS ended_at,
            -- What was loaded without a log was filed elsewhere.
            i.steps IS NULL AND i.state NOT IN ('reported', 'verifying', 'accepted', 'rejected', 'cancelled', 'merged') AS filed_elsewhere
        FROM near AS i
    ), counted AS (
        SELECT c.key,
            count(*) FILTER (WHERE c.reported_at >= since) AS reported,
            count(*) FILTER (WHERE c.reported_at >= since AND c.filed_elsewhere) AS filed,
            count(*) FILTER (WHERE c.reported_at >= since AND c.state = 'rejected') AS rejected,
            count(*) FILTER (WHERE c.reported_at >= since AND c.duplicate_of IS NOT NULL) AS duplicates,
            count(*) FILTER (WHERE c.due) AS should_close,
            count(*) FILTER (WHERE c.due AND c.closed_at < until) AS closed,
            count(*) FILTER (WHERE c.due AND c.closed_at < until AND c.in_time) AS closed_in_time,
            count(*) FILTER (WHERE c.due AND c.urgent) AS urgent_should_close,
            count(*) FILTER (WHERE c.due AND c.urgent AND c.closed_at < until) AS urgent_closed,
            count(*) FILTER (WHERE c.due AND c.urgent AND c.closed_at < until AND c.in_time) AS urgent_closed_in_time,
            count(*) FILTER (WHERE c.closed_at >= since AND c.closed_at < until AND c.rating IS NOT NULL) AS rated,
            count(*) FILTER (WHERE c.closed_at >= since AND c.closed_at < until AND c.rating >= 4) AS satisfied,
            count(*) FILTER (WHERE c.closed_at >= since AND c.closed_at < until AND c.forced) AS forced,
            count(*) FILTER (WHERE c.reported_at < since AND (c.ended_at IS NULL OR c.ended_at >= since)) AS opened_before,
            count(*) FILTER (WHERE c.ended_at >= since AND c.ended_at < until) AS ended,
            count(*) FILTER (WHERE c.ended_at IS NULL OR c.ended_at >= until) AS open_after
        FROM cases AS c GROUP BY c.key
    ), stepped AS (
        SELECT c.key,
            count(*) FILTER (WHERE l.action = 'file') AS filed,
            count(*) FILTER (WHERE l.action IN ('dispatch', 'rule')) AS dispatches,
            count(*) FILTER (WHERE l.action IN ('return', 'dispute')) AS returns,
            count(*) FILTER (WHERE l.action = 'handle') AS handled,
            count(*) FILTER (WHERE l.action = 'fail') AS reworked,
            count(*) FILTER (WHERE l.action IN ('pass', 'fail')) AS checked,
            count(*) FILTER (WHERE l.action = 'pass') AS passed
        FROM incident_log AS l JOIN cases AS c ON c.id = l.incident
        WHERE l.at >= since AND l.at < until AND l.action IN ('file', 'dispatch', 'rule', 'return', 'handle', 'fail', 'pass') GROUP BY c.key
    ), looked_into AS (
        -- The other clocks of these cases, each of which may have run more than once.
        SELECT c.key,
            count(*) FILTER (WHERE k.clock = 'accept') AS accept_due, count(*) FILTER (WHERE k.clock = 'accept' AND (k.exempt OR k.ended_at <= k.due_at)) AS accept_in_time,
            count(*) FILTER (WHERE k.clock = 'verify') AS verify_due, count(*) FILTER (WHERE k.clock = 'verify' AND (k.exempt OR k.ended_at <= k.due_at)) AS verify_in_time,
            count(*) FILTER (WHERE k.clock = 'dispatch') AS dispatch_due, count(*) FILTER (WHERE k.clock = 'dispatch' AND (k.exempt OR k.ended_at <= k.due_at)) AS dispatch_in_time,
            count(*) FILTER (WHERE k.clock = 'check') AS check_due, count(*) FILTER (WHERE k.clock = 'check' AND (k.exempt OR k.ended_at <= k.due_at)) AS check_in_time,
            count(*) FILTER (WHERE k.clock = 'close') AS close_due, count(*) FILTER (WHERE k.clock = 'close' AND (k.exempt OR k.ended_at <= k.due_at)) AS close_in_time,
            count(*) FILTER (WHERE k.clock = 'feedback') AS feedback_due, count(*) FILTER (WHERE k.clock = 'feedback' AND (k.exempt OR k.ended_at <= k.due_at)) AS feedback_in_time
        FROM incident_clocks AS k JOIN cases AS c ON c.id = k.incident
        WHERE k.clock <> 'handle' AND k.due_at >= since AND k.due_at < until GROUP BY c.key
    )
    SELECT c.key, c.reported, c.filed + coalesce(s.filed, 0), c.rejected, c.duplicates, c.should_close, c.closed, c.closed_in_time,
        c.urgent_should_close, c.urgent_closed, c.urgent_closed_in_time, coalesce(s.dispatches, 0), coalesce(s.returns, 0), coalesce(s.handled, 0),
        coalesce(s.reworked, 0), coalesce(s.checked, 0), coalesce(s.passed, 0), c.rated, c.satisfied, c.forced, c.opened_before, c.ended, c.open_after,
        coalesce(l.accept_due, 0), coalesce(l.accept_in_time, 0), coalesce(l.verify_due, 0), coalesce(l.verify_in_time, 0), coalesce(l.dispatch_due, 0), coalesce(l.dispatch_in_time, 0), coalesce(l.check_due, 0), coalesce(l.check_in_time, 0), coalesce(l.close_due, 0), coalesce(l.close_in_time, 0), coalesce(l.feedback_due, 0), coalesce(l.feedback_in_time, 0)
    FROM counted AS c LEFT JOIN stepped AS s ON s.key = c.key LEFT JOIN looked_into AS l ON l.key = c.key;
END
$$;

-- What stands beside any rate of some areas: how many live there, how many work there in the grids, how much is open now.
CREATE OR REPLACE FUNCTION indicator_load(paths text[]) RETURNS TABLE (path text, residents bigint, workers bigint, open bigint)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
    WITH wanted AS (
        SELECT w.path COLLATE "C" AS path, length(w.path) AS width FROM unnest(paths) AS w (path) WHERE w.path <> '' AND caller_holds(w.path)
    ), working AS MATERIALIZED (
        SELECT DISTINCT a.account, p.path FROM appointments AS a JOIN appointment_areas AS p ON p.appointment = a.id
        WHERE a.role IN ('grid_worker', 'grid_leader') AND in_office(a)
    ), counted AS (
        SELECT w.path, count(DISTINCT p.account) AS workers FROM wanted AS w JOIN working AS p ON left(p.path, w.width) = w.path GROUP BY w.path
    )
    SELECT w.path, coalesce((t.told ->> 'buildings.residents')::bigint, 0), coalesce(c.workers, 0), coalesce((t.told ->> 'incidents.open')::bigint, 0)
    FROM wanted AS w CROSS JOIN LATERAL (SELECT tallies_of(w.path) AS told OFFSET 0) AS t LEFT JOIN counted AS c ON c.path = w.path
$$;
