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
