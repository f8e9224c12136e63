-- unmask --
-- What is masked of a record, to be opened; a row a field, none when the record is not the caller's to see.
SELECT * FROM unmasked(:entry, :noun, :feature, CAST(:fields AS text[]), :purpose, :note);

-- unmaskings --
-- Who looked at what in clear and why, newest first. What is NULL is not asked for.
SELECT * FROM unmaskings_told(CAST(:waiting AS boolean), CAST(:before AS uuid), :most);

-- unmaskings_waiting --
-- How many wait for a review, and how many of them too long.
SELECT * FROM unmaskings_waiting(:days);

-- review_unmasking --
SELECT unmasking_reviewed(:id, :verdict, :opinion);

-- ask_export --
-- A request for a file with persons in it.
SELECT export_asked(:noun, :format, CAST(:fields AS text[]), :clear, CAST(:filter AS jsonb), :purpose, :note, :expected);

-- exports --
-- Requests that the caller may look at, newest first, or one of them.
SELECT told.*, coalesce(area_title(told.filter ->> 'within'), told.filter ->> 'within') AS within
FROM exports_told(CAST(:id AS uuid), :most) AS told;

-- move_export --
SELECT export_moved(:id, :target, :opinion);

-- allowed_export --
-- The request, if the caller may take its data along now.
SELECT id, noun FROM export_allowed(:id);

-- open_export --
-- What is masked of some records, to be opened.
SELECT * FROM export_opened(:entry, :id, CAST(:ids AS uuid[]));

-- take_export --
-- The file is written, and not again.
SELECT export_taken(:entry, :id, :rows);

-- caller_of_export --
-- Who asked for it, as they are bound now.
SELECT c.* FROM exports AS e CROSS JOIN LATERAL caller_of(e.account, e.appointment) AS c WHERE e.id = :id;
