-- What the pages of cases say beside the cases themselves.

-- The name of a body for whoever may not read its row: which bodies there are, and what they are called, everybody may know.
CREATE OR REPLACE FUNCTION organisation_title(wanted uuid) RETURNS text
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
BEGIN
    RETURN (SELECT name FROM organisations WHERE id = wanted);
END
$$;

-- What the colleagues are called who took the steps of a case, for whoever works with it. Who reported it is not among them.
CREATE OR REPLACE FUNCTION incident_actors_told(of_incident uuid) RETURNS TABLE (login text, name text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
    SELECT DISTINCT a.login, a.name
    FROM incidents AS i JOIN incident_log AS l ON l.incident = i.id AND l.role <> 'reporter' JOIN accounts AS a ON a.login = l.actor
    WHERE i.id = of_incident AND i.retired_at IS NULL AND incident_in_hand(i) AND caller_right() IN ('owner', 'area', 'leader', 'organisation')
$$;

-- The steps that the caller may take with each of some cases: as `incident_moves_told`, asked once for a page of them. Case by case it
-- was 4 ms each, because who asks was found out anew.
CREATE OR REPLACE FUNCTION incident_moves_each(wanted uuid[]) RETURNS TABLE (incident uuid, action text, target text, role text, reasoned boolean)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
    WITH me AS MATERIALIZED (
        SELECT caller_right() AS held, (caller_appointment()).role AS role
    ), near AS MATERIALIZED (
        SELECT i.id, i.state, me.role, me.held <> 'area' OR me.role IN ('grid_worker', 'grid_leader') AS leading, i AS thing
        FROM incidents AS i, me WHERE i.id = ANY (wanted) AND i.retired_at IS NULL AND me.held IN ('area', 'leader', 'organisation') AND incident_in_hand(i)
    ), held AS MATERIALIZED (
        SELECT n.id, n.state, n.role, CASE WHEN n.leading THEN incident_led(n.thing) ELSE false END AS led,
            caller_right() = 'organisation' AND n.id IN (SELECT incidents_called()) AS called FROM near AS n
    )
    SELECT DISTINCT ON (h.id, m.action) h.id, m.action, m.target, m.role, m.reasoned
    FROM held AS h JOIN incident_moves AS m ON m.source = h.state AND (m.role = h.role OR (m.role = 'lead' AND h.led) OR (m.role = 'called' AND h.called))
    WHERE m.action <> 'unmerge' OR m.target = (
        SELECT l.source FROM incident_log AS l WHERE l.incident = h.id AND l.action = 'merge' ORDER BY l.number DESC LIMIT 1)
    ORDER BY h.id, m.action, m.role = 'lead' DESC
$$;
