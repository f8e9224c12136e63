-- calendar_published --
SELECT calendar_published(CAST(:first AS date), CAST(:last AS date), CAST(:exceptions AS jsonb));

-- calendar_set --
SELECT calendar_set(CAST(:days AS jsonb));

-- calendar_told --
SELECT day, working, note FROM working_days
WHERE day BETWEEN :first AND :last AND (source = 'own' OR working <> (extract(isodow FROM day) < 6)) ORDER BY day;

-- calendar_known --
SELECT min(day) FILTER (WHERE source = 'published') AS first, max(day) FILTER (WHERE source = 'published') AS last,
    count(*) FILTER (WHERE source = 'own') AS own
FROM working_days;

-- stages_founded --
INSERT INTO stage_limits (state, urgent, clock, kind, amount)
SELECT state, urgent, clock, kind, amount FROM json_to_recordset(CAST(:stages AS json))
    AS s (state text, urgent boolean, clock text, kind text, amount double precision)
ON CONFLICT (state, urgent) DO NOTHING;

-- alarms_founded --
INSERT INTO alarm_steps (alarm, times, level)
SELECT alarm, times, level FROM json_to_recordset(CAST(:alarms AS json)) AS a (alarm text, times double precision, level text)
ON CONFLICT (alarm) DO NOTHING;

-- stage_limits_told --
SELECT state, urgent, clock, kind, amount, source FROM stage_limits ORDER BY state, urgent;

-- stage_limit_set --
SELECT stage_limit_set(:state, :urgent, :kind, :amount, :source);

-- matter_limits_set --
SELECT begun, over FROM matter_limits_set(CAST(:given AS jsonb), :source);

-- matter_limits_told --
-- Those in force, or with a matter all that it ever had.
SELECT id, matter, code, title, condition, closing, kind, amount, unit, department, valid_from, valid_to, source FROM matter_limits
WHERE (CAST(:matter AS text) IS NULL AND valid_to IS NULL) OR matter = :matter
ORDER BY matter NULLS LAST, code, title, valid_from, id;

-- matters_listed --
SELECT code, title FROM matters WHERE retired_at IS NULL ORDER BY code;

-- incidents_swept --
SELECT told, resumed FROM incidents_swept(CAST(:moment AS timestamptz), :most);

-- clocks_told --
SELECT number, state, clock, kind, amount, started_at, due_at, paused_at, ended_at, spent, extended, exempt, late, alarms
FROM clocks_told(CAST(:incident AS uuid));
