-- retention_due --
-- What is over at a moment (now, where none is told): how many rows of which rule, for what cause, since when the first.
SELECT * FROM retention_due(moment_told(:moment));

-- retention_told --
-- What is over now, for whoever answers for the data of persons.
SELECT * FROM retention_told(:moment);

-- retention_stretch --
-- Destroy up to so many rows that are over for one cause.
SELECT * FROM retention_stretch(:noun, :field, :cause, :activation, :moment, :most);

-- struck --
-- Destroy what is named, by hand or again after a restore.
SELECT * FROM struck(
    coalesce(CAST(:stretch AS uuid), uuid_v7()), coalesce(CAST(:at AS timestamptz), clock_timestamp()), :cause, :activation, :request,
    :noun, :field, CAST(:columns AS text[]), CAST(:ids AS uuid[]), :again);

-- certificates_issued --
-- The certificates of what was destroyed and has none, or of one request.
SELECT to_jsonb(c) AS certificate FROM certificates_issued(:request) AS c;

-- certificates --
-- Every certificate, the latest first.
SELECT certificate FROM certificates_told(NULL);

-- one_certificate --
-- A certificate, and whether its hash is that of the list.
SELECT certificate, holds FROM certificates_told(:id);

-- known_destructions --
-- Which of these were done in this database.
SELECT id FROM destructions WHERE id = ANY (CAST(:ids AS uuid[]));

-- restore_certificates --
-- Certificates that a restored backup does not know, as the list outside the database has them.
WITH told AS (
    INSERT INTO certificates SELECT c.* FROM jsonb_array_elements(CAST(:told AS jsonb)) AS t, jsonb_populate_record(NULL::certificates, t) AS c
    ON CONFLICT (id) DO NOTHING RETURNING number
)
SELECT setval(pg_get_serial_sequence('certificates', 'number'), max(number)) FROM (
    SELECT number FROM told UNION ALL SELECT number FROM certificates) AS every HAVING max(number) > 0;

-- activation_assessed --
-- Put off the destruction after an emergency, with an assessment.
SELECT activation_assessed(:activation, :until, :by, :reason, :document);

-- activation_counts --
-- How many rows were gathered for an emergency, there or destroyed since.
SELECT * FROM activation_counts(:activation);

-- retention_awaited --
-- Whether the night's run is to be done.
SELECT retention_awaited(moment_told(:moment));

-- retention_rested --
-- The run of this day is done.
SELECT retention_rested(moment_told(:moment));

-- instance_id --
-- Who this database is, so that its list is not mistaken for another's.
SELECT instance_id();
