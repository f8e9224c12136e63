-- move_incident --
-- One step of a case, by whoever works with it.
SELECT number, state, at, replayed FROM incident_moved(
    CAST(:incident AS uuid), :action, CAST(:given AS jsonb), CAST(:expected AS integer), CAST(:again AS text), CAST(:moment AS timestamptz));

-- move_report --
-- One step of a case by who reported it, known by ticket and code.
SELECT number, state, at FROM report_moved(
    :ticket, CAST(:hashes AS bytea[]), :action, CAST(:given AS jsonb), CAST(:moment AS timestamptz));

-- incident_moves --
-- What the caller may do with a case from where it stands.
SELECT action, target, role, reasoned, steps FROM incident_moves_told(CAST(:incident AS uuid));

-- incident_log --
-- Every step a case has taken.
SELECT number, action, source, target, role, at, actor, acting_as, area, opinion, facts FROM incident_log_told(CAST(:incident AS uuid));

-- incident_routes --
-- What the responsibility list says of a case, the deciding line first, with names.
SELECT r.item, r.part, r.by, r.organisation, o.name AS organisation_name, r.area, area_title(r.area) AS area_name,
    r.matter, r.within, r.duties, r.legal_basis
FROM incident_routed(CAST(:incident AS uuid)) AS r LEFT JOIN organisations AS o ON o.id = r.organisation;

-- inbox --
-- What waits for the caller, the most pressing first.
SELECT id, title, number, matter, state, grade, urgent, supervised, due_at, reported_at, steps, scope, actions FROM inbox_told(:most);
