-- How cases went, counted: by area, by body, by matter, by channel, in a period that is half-open. Numerators and denominators
-- only; what is made of them is said in geo/indicators.py. Nobody's name is an axis.

-- What a case is counted under. Of what is located to a region only nobody knows the community, and it is counted under none.
CREATE OR REPLACE FUNCTION indicator_key(thing incidents, axis text) RETURNS text
LANGUAGE sql STABLE AS $$
    SELECT CASE axis
        WHEN 'body' THEN coalesce(thing.lead::text, thing.lead_area, thing.handler, '')
        WHEN 'matter' THEN coalesce(thing.matter, '')
        WHEN 'channel' THEN thing.channel
        WHEN 'all' THEN ''
        ELSE CASE WHEN thing.precision IS DISTINCT FROM 'region' AND length(thing.scope) >= path_width(axis) THEN left(thing.scope, path_width(axis)) ELSE '' END
    END
$$;

-- Of a path that the caller answers for; exercises are no cases. A case is due when its handling is, by its clock; what was loaded
-- without one, when its file said. Late but exempt after an appeal counts as in time.
CREATE OR REPLACE FUNCTION indicator_counts(of_path text, since timestamptz, until timestamptz, axis text)
RETURNS TABLE (
    key text, reported bigint, filed bigint, rejected bigint, duplicates bigint, should_close bigint, closed bigint, closed_in_time bigint,
    urgent_should_close bigint, urgent_closed bigint, urgent_closed_in_time bigint, dispatches bigint, returns bigint, handled bigint,
    reworked bigint, checked bigint, passed bigint, rated bigint, satisfied bigint, forced bigint, opened_before bigint, ended bigint, open_after bigint
)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = jingwei, public, pg_temp SET jit = off AS $$
    WITH cases AS MATERIALIZED (
        SELECT i.id, i.state, i.reported_at, coalesce(k.due_at, CASE WHEN k.incident IS NULL THEN i.due_at END) AS due_at, i.closed_at,
            coalesce(k.exempt OR k.ended_at <= k.due_at, i.closed_at <= i.due_at) AS in_time, i.urgent, i.forced, i.rating, i.duplicate_of, indicator_key(i, axis) AS key,
            CASE WHEN i.state IN ('rejected', 'cancelled', 'merged') THEN coalesce(last.at, i.reported_at) ELSE i.closed_at END AS ended_at,
            -- What was loaded without a log was filed elsewhere.
            i.steps IS NULL AND i.state NOT IN ('reported', 'verifying', 'accepted', 'rejected', 'cancelled', 'merged') AS filed_elsewhere
        FROM incidents AS i
        LEFT JOIN incident_log AS last ON last.incident = i.id AND last.number = i.steps AND i.state IN ('rejected', 'cancelled', 'merged')
        LEFT JOIN LATERAL (
            SELECT c.incident, c.due_at, c.ended_at, c.exempt FROM incident_clocks AS c
            WHERE c.incident = i.id AND c.clock = 'handle' ORDER BY c.number DESC LIMIT 1) AS k ON i.steps IS NOT NULL
        WHERE i.scope COLLATE "C" >= of_path AND i.scope COLLATE "C" < of_path || '~' AND i.retired_at IS NULL AND NOT i.exercise
          AND i.reported_at < until AND caller_holds(of_path)
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
        FROM (
            SELECT cases.*, cases.due_at >= since AND cases.due_at < until AND cases.state NOT IN ('rejected', 'cancelled', 'merged') AS due
            FROM cases
        ) AS c GROUP BY c.key
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
        WHERE l.at >= since AND l.at < until GROUP BY c.key
    )
    SELECT c.key, c.reported, c.filed + coalesce(s.filed, 0), c.rejected, c.duplicates, c.should_close, c.closed, c.closed_in_time,
        c.urgent_should_close, c.urgent_closed, c.urgent_closed_in_time, coalesce(s.dispatches, 0), coalesce(s.returns, 0), coalesce(s.handled, 0),
        coalesce(s.reworked, 0), coalesce(s.checked, 0), coalesce(s.passed, 0), c.rated, c.satisfied, c.forced, c.opened_before, c.ended, c.open_after
    FROM counted AS c LEFT JOIN stepped AS s ON s.key = c.key
$$;
