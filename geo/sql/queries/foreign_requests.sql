-- foreign_request_take --
-- The case of another server's request, made where there is none.
SELECT incident, made FROM foreign_request_taken(
    :endpoint, :number, :matter, CAST(:words AS text), CAST(:address AS text), CAST(CAST(:place AS text) AS geometry), CAST(:precision AS text),
    CAST(:moment AS timestamptz));

-- foreign_requests_untold --
-- What has moved on since the other server was told.
SELECT f.number, i.steps, i.state, incident_moved_at(i.id) AS at
FROM foreign_requests AS f JOIN incidents AS i ON i.id = f.incident
WHERE f.endpoint = :endpoint AND i.steps > f.told_steps AND i.retired_at IS NULL ORDER BY f.came_at, f.number LIMIT :most;

-- foreign_request_told --
-- The other server knows of a step, or refused it.
UPDATE foreign_requests SET told_steps = CASE WHEN :refusal = '' THEN :steps ELSE told_steps END, tries = CASE WHEN :refusal = '' THEN 0 ELSE tries + 1 END,
    refusal = :refusal
WHERE endpoint = :endpoint AND number = :number;
