-- whistle_told --
-- Who was called to the place of a case, and how far each has got.
SELECT whistle, lon, lat, address, blown_at, released_at, organisation, name, called_at, due_at, metres, answered_at, arrived_at, away_m, left_at, mine
FROM whistle_told(CAST(:incident AS uuid));

-- whistle_arrivals --
-- How departments came when they were called.
SELECT organisation, name, called, answered, arrived, in_time, minutes, longest
FROM whistle_arrivals(:within, CAST(:since AS timestamptz), CAST(:until AS timestamptz));

-- duty_calls_told --
-- Who was told of an urgent case.
SELECT level, area, title, told_at, due_at, gap, acknowledged_at, acknowledged_by, raised_at FROM duty_calls_told(CAST(:incident AS uuid));

-- duty_waits_told --
-- How long offices have to hear of what is urgent.
SELECT area, minutes FROM duty_waits ORDER BY area;

-- duty_wait_set --
SELECT duty_wait_set(:area, CAST(:minutes AS integer));

-- parts_told --
-- What a case was split into, and what it is a part of.
SELECT id, number, title, state, lead, due_at, whole FROM parts_told(CAST(:incident AS uuid));

-- duty_gaps_told --
-- Open cases that nobody is named for.
SELECT id FROM duty_gaps_told(CAST(:most AS integer));

-- matter_gaps_told --
-- Matters that no line leads.
SELECT matter, title, title_en, cases FROM matter_gaps_told(:area);

-- hub_waits --
-- What the office of a street has before it.
SELECT id, why, since FROM hub_waits(CAST(:most AS integer));

-- task_assigned --
-- A task from above, with a part for each of some areas.
SELECT task_assigned(:within, :title, CAST(:matter AS text), :about, CAST(:areas AS text[]), CAST(:moment AS timestamptz));

-- task_delays_told --
-- How long a task took at each level.
SELECT level, parts, taken_over, done, receipt_p50, receipt_p90, split_p50, split_p90, done_p50, done_p90
FROM task_delays_told(CAST(:incident AS uuid));

-- duties_swept --
-- A pass up the areas.
SELECT raised, late FROM duties_swept(CAST(:moment AS timestamptz), CAST(:most AS integer));
