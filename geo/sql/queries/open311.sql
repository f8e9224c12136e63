-- open311_requests --
-- What everybody may know of cases, by number or by when they were reported: read as the public, whoever asks.
SELECT i.id, coalesce(i.number, i.id::text) AS number, i.title, i.matter, coalesce(m.title, '') AS service, coalesce(m.title_en, '') AS service_en, i.state,
    i.reported_at, incident_moved_at(i.id) AS updated_at, i.due_at, coalesce(organisation_title(i.lead), area_title(i.lead_area), i.handler) AS agency,
    area_title(i.scope) AS area, ST_X(i.geom_coarse) AS lon, ST_Y(i.geom_coarse) AS lat, (SELECT p.id FROM photos_told(i.id) AS p LIMIT 1) AS photo
FROM (
    SELECT id, number, title, matter, state, reported_at, due_at, lead, lead_area, handler, scope, geom_coarse FROM incidents
    WHERE retired_at IS NULL AND NOT exercise
      AND (CAST(:numbers AS text[]) IS NULL OR number = ANY (CAST(:numbers AS text[])) OR id = ANY (CAST(:ids AS uuid[])))
      AND (CAST(:numbers AS text[]) IS NOT NULL OR (reported_at >= CAST(:since AS timestamptz) AND reported_at < CAST(:until AS timestamptz)
        AND (CAST(:services AS text[]) IS NULL OR matter = ANY (CAST(:services AS text[])))
        AND (CAST(:over AS boolean) IS NULL OR (state = ANY (CAST(:closed AS text[]))) = CAST(:over AS boolean))))
    ORDER BY reported_at DESC, id DESC LIMIT :size OFFSET :skip
) AS i
LEFT JOIN matters AS m ON m.code = i.matter
ORDER BY i.reported_at DESC, i.id DESC;

-- open311_updates --
-- The steps that cases took between two moments.
SELECT "update", number, state, at FROM incident_updates_told(CAST(:since AS timestamptz), CAST(:until AS timestamptz), :most);
