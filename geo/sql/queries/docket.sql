-- cases_told --
-- Cases as a list, a card or a link shows them, in the order of their ids as given; with the steps that the caller may take.
SELECT i.id, i.number, i.title, i.matter, m.title AS matter_zh, m.title_en AS matter_en, i.channel, i.state, i.grade, i.urgent, i.supervised,
    i.exercise, least(i.due_at, i.promised_at) AS due_at, i.promised_at, i.reported_at, i.closed_at, i.scope, coalesce(area_title(i.scope), i.scope) AS area, i.lead, i.lead_area,
    coalesce(organisation_title(i.lead), area_title(i.lead_area), i.lead_area) AS lead_name, i.steps,
    coalesce(t.moves, '[]') AS moves
FROM unnest(CAST(:ids AS uuid[])) WITH ORDINALITY AS wanted (id, place)
JOIN incidents AS i ON i.id = wanted.id LEFT JOIN matters AS m ON m.code = i.matter
LEFT JOIN (
    SELECT incident, jsonb_agg(jsonb_build_object('action', action, 'target', target, 'role', role, 'reasoned', reasoned)) AS moves
    FROM incident_moves_each(CASE WHEN :moves THEN CAST(:ids AS uuid[]) END) GROUP BY incident) AS t ON t.incident = i.id
ORDER BY wanted.place;

-- cases_like --
-- Others of the same matter, reported within a day and a hundred metres: perhaps the same fact.
SELECT other.id, round(ST_Distance(other.geom::geography, i.geom::geography))::integer AS metres
FROM incidents AS i JOIN incidents AS other ON other.geom && ST_Expand(i.geom, 0.003) AND other.matter = i.matter AND other.id <> i.id
WHERE i.id = :incident AND other.retired_at IS NULL AND other.state NOT IN ('merged', 'rejected', 'cancelled')
  AND other.reported_at BETWEEN i.reported_at - interval '24 hours' AND i.reported_at + interval '24 hours'
  AND other.precision <> 'region' AND i.precision <> 'region' AND ST_DWithin(other.geom::geography, i.geom::geography, 100)
ORDER BY metres, other.id LIMIT 10;

-- case_numbered --
-- The case of a number, or of an id.
SELECT id FROM incidents WHERE (number = :text OR id::text = :text) AND retired_at IS NULL LIMIT 2;

-- case_actors --
-- What those are called who took the steps of a case.
SELECT login, name FROM incident_actors_told(CAST(:incident AS uuid));

-- titles_called --
-- What areas and bodies are called.
SELECT path AS key, area_title(path) AS title FROM unnest(CAST(:areas AS text[])) AS path
UNION ALL SELECT id::text, organisation_title(id) FROM unnest(CAST(:bodies AS uuid[])) AS id;

-- duties_named --
-- What lines of the responsibility list say.
SELECT id::text AS id, duties, legal_basis FROM duty_items WHERE id = ANY (CAST(:items AS uuid[]));

-- bodies_offered --
-- Whom a case can be given to: departments, and what else the responsibility list names.
SELECT id, name, kind FROM organisations
WHERE retired_at IS NULL AND (kind = 'department' OR id IN (SELECT organisation FROM duty_items WHERE retired_at IS NULL))
ORDER BY kind <> 'department', name, id LIMIT :most;

-- bodies_called --
-- Bodies of a name, a code or an id.
SELECT id FROM organisations WHERE retired_at IS NULL AND (name = :text OR code = :text OR id::text = :text) ORDER BY id LIMIT 2;

-- areas_around --
-- The areas that a path lies in from street down, the smallest first, and those right below it, for what is not placed in a grid.
SELECT path, coalesce(name, path) AS name, level FROM areas
WHERE (CAST(:path AS text) LIKE path || '%' OR path LIKE :path || '%') AND level IN ('street', 'community', 'grid')
  AND theme = 'governance' AND kind NOT IN ('unit', 'thematic') AND retired_at IS NULL
  AND valid_from <= now() AND (valid_to IS NULL OR valid_to > now())
ORDER BY path <> :path, CASE WHEN :path LIKE path || '%' THEN -length(path) ELSE length(path) END, path LIMIT 100;
