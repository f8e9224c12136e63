-- upload_made --
SELECT upload_made(CAST(:id AS uuid), :file, :size, CAST(:digest AS bytea), CAST(:file_key AS bytea), :repeat, CAST(:choices AS jsonb));

-- partial_begun --
SELECT partial_begun(CAST(:id AS uuid), :file, :size, CAST(:file_key AS bytea));

-- partial_held --
SELECT id, name, size, taken, file_key_cipher FROM partial_held(CAST(:id AS uuid), :locked);

-- partial_taken --
SELECT partial_taken(CAST(:id AS uuid), :taken);

-- partials_over --
-- Nobody goes on with these; that of today may be tried again.
DELETE FROM partial_uploads WHERE at < now() - interval '1 day' RETURNING id;

-- uploads_told --
SELECT * FROM uploads_told(CAST(:id AS uuid), :most);

-- upload_moved --
SELECT upload_moved(CAST(:id AS uuid), :step, CAST(:choices AS jsonb));

-- upload_discarded --
SELECT upload_discarded(CAST(:id AS uuid));

-- upload_problems --
SELECT * FROM upload_problems(CAST(:id AS uuid), :field, :reason, :after, :most);

-- upload_rows --
SELECT * FROM upload_rows(CAST(:id AS uuid), :fate, :after, :most);

-- upload_tile --
SELECT upload_tile(CAST(:id AS uuid), :z, :x, :y);

-- upload_claimed --
-- The upload, if it is where its job begins: a job that comes twice finds it gone on.
UPDATE uploads SET state = :state, moved_at = CASE WHEN state = :state THEN moved_at ELSE now() END
WHERE id = CAST(:id AS uuid) AND state = ANY (:states) RETURNING *;

-- upload_set --
UPDATE uploads SET state = :state, moved_at = now(), undoing = false, noun = coalesce(:noun, noun),
    told = coalesce(CAST(:told AS jsonb), told), counts = coalesce(CAST(:counts AS jsonb), counts), refusal = CAST(:refusal AS jsonb)
WHERE id = CAST(:id AS uuid);

-- upload_counted --
UPDATE uploads SET counts = CAST(:counts AS jsonb), told = told || CAST(:told AS jsonb) WHERE id = CAST(:id AS uuid);

-- upload_progress --
UPDATE uploads SET done = :done, expected = coalesce(:expected, expected) WHERE id = CAST(:id AS uuid);

-- upload_appointed --
SELECT EXISTS (
    SELECT FROM appointments WHERE id = CAST(:appointment AS uuid) AND valid_from <= now() AND (valid_to IS NULL OR valid_to > now()));

-- uploads_over --
-- Those whose file nobody needs any more: given up or refused, or written and past the days in which they may be taken back;
-- and those with a row that was gathered for an emergency whose review is over, however far they have got.
SELECT id FROM uploads AS u
WHERE file_key_cipher IS NOT NULL AND CASE WHEN CAST(:id AS uuid) IS NULL
    THEN state IN ('failed', 'undone') OR moved_at < now() - make_interval(days => :days)
      OR EXISTS (SELECT FROM activations AS a WHERE a.review_until <= now() AND u.told -> 'activations' ? a.id::text)
    ELSE id = CAST(:id AS uuid) END
    AND state NOT IN ('queued', 'reading', 'applying');

-- emergencies_over --
-- Rows of a file that could not be stored go with the emergency that one of its rows was gathered for, as stored rows do.
DELETE FROM load_problems WHERE batch IN (
    SELECT u.id FROM uploads AS u JOIN activations AS a ON a.review_until <= now() AND u.told -> 'activations' ? a.id::text);

-- uploads_kept --
-- Whose files are still needed.
SELECT id FROM uploads WHERE file_key_cipher IS NOT NULL UNION ALL SELECT id FROM partial_uploads;

-- uploads_forgotten --
UPDATE uploads SET file_key_cipher = NULL, told = told - 'samples' - 'evidence' - 'notes', state = CASE WHEN state IN ('ready', 'refused') THEN 'failed' ELSE state END
WHERE id = ANY (CAST(:ids AS uuid[]));

-- mapping_remembered --
INSERT INTO mappings (account, headings, noun, columns) VALUES (:account, :headings, :noun, CAST(:columns AS jsonb))
ON CONFLICT (account, headings) DO UPDATE SET noun = excluded.noun, columns = excluded.columns, at = now();

-- mapping_known --
SELECT noun, columns FROM mappings WHERE account = :account AND headings = :headings;
