-- Time as offices count it, and the clocks of cases.
--
-- What is worked is laid out once as a row for each span of it with the seconds worked before (`working_spans`), so that how
-- much was worked between two moments, and when so much will have been worked, are two steps down an index each, whatever lies
-- between: counting day by day, a limit of 60 days over the new year took 40 times as long. Beyond the calendar laid out there
-- is no answer (NULL) rather than a wrong one. Everything is half-open: what begins at twelve is not of the morning.

CREATE OR REPLACE FUNCTION kind_seconds(kind text) RETURNS double precision
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE kind WHEN 'urgent_minute' THEN 60.0 WHEN 'urgent_hour' THEN 3600.0 WHEN 'natural_day' THEN 86400.0
        WHEN 'work_hour' THEN 3600.0 WHEN 'work_day' THEN 28800.0 END::double precision
$$;

-- How much was worked from the beginning of the calendar until then. In plpgsql because its plan is kept.
CREATE OR REPLACE FUNCTION worked_until(moment timestamptz) RETURNS double precision
LANGUAGE plpgsql STABLE PARALLEL SAFE AS $$
BEGIN
    RETURN (SELECT s.before + extract(epoch FROM least(moment, s.ends) - s.starts)::double precision
            FROM working_spans AS s WHERE s.starts <= moment ORDER BY s.starts DESC LIMIT 1);
END
$$;

-- The first moment at which so much has been spent since then. A limit that ends with the morning is due at twelve, not at two.
CREATE OR REPLACE FUNCTION due_after(kind text, amount double precision, since timestamptz) RETURNS timestamptz
LANGUAGE plpgsql STABLE PARALLEL SAFE AS $$
BEGIN
    IF amount <= 0 THEN
        RETURN since;
    END IF;
    IF kind NOT IN ('work_hour', 'work_day') THEN
        RETURN since + make_interval(secs => amount * kind_seconds(kind));
    END IF;
    RETURN (
        SELECT CASE WHEN till.total <= till.before + extract(epoch FROM till.ends - till.starts)
            THEN greatest(since, till.starts + make_interval(secs => till.total - till.before)) END
        FROM (
            SELECT s.before + extract(epoch FROM least(since, s.ends) - s.starts)::double precision + amount * kind_seconds(kind) AS total
            FROM working_spans AS s WHERE s.starts <= since ORDER BY s.starts DESC LIMIT 1
        ) AS here CROSS JOIN LATERAL (
            SELECT s.*, here.total FROM working_spans AS s WHERE s.before < here.total ORDER BY s.before DESC, s.starts DESC LIMIT 1
        ) AS till);
END
$$;

-- What has been spent from one moment to a later one, in units of the kind.
CREATE OR REPLACE FUNCTION time_spent(kind text, since timestamptz, until timestamptz) RETURNS double precision
LANGUAGE plpgsql STABLE PARALLEL SAFE AS $$
BEGIN
    IF until <= since THEN
        RETURN 0;
    END IF;
    IF kind NOT IN ('work_hour', 'work_day') THEN
        RETURN extract(epoch FROM until - since)::double precision / kind_seconds(kind);
    END IF;
    RETURN (worked_until(until) - worked_until(since)) / kind_seconds(kind);
END
$$;

-- Lay the calendar out anew: what follows from days, hours and where the instance is.
CREATE OR REPLACE FUNCTION calendar_laid() RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
DECLARE
    zone constant text := coalesce((SELECT time_zone FROM instance), 'Asia/Shanghai');
    first constant timestamp := '2000-01-01';
    last constant timestamp := '2060-01-01';
BEGIN
    -- Of two who change the calendar at once the second lays out what both have said.
    LOCK TABLE working_spans IN SHARE ROW EXCLUSIVE MODE;
    DELETE FROM working_spans;
    INSERT INTO working_spans (starts, ends, before)
    SELECT starts, ends, coalesce(sum(extract(epoch FROM ends - starts)) OVER (ORDER BY starts ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0)
    FROM (
        SELECT (d.day + h.opens) AT TIME ZONE zone AS starts, (d.day + h.closes) AT TIME ZONE zone AS ends
        FROM (SELECT day::date AS day FROM generate_series(first + interval '1 day', last - interval '1 day', interval '1 day') AS day) AS d
        LEFT JOIN working_days AS w USING (day) CROSS JOIN working_hours AS h
        WHERE coalesce(w.working, extract(isodow FROM d.day) < 6)
    ) AS spans;
    INSERT INTO working_spans (starts, ends, before)
    VALUES (first AT TIME ZONE zone, first AT TIME ZONE zone, 0), (last AT TIME ZONE zone, last AT TIME ZONE zone, NULL);
    PERFORM clocks_reset();
END
$$;

CREATE OR REPLACE FUNCTION calendar_changed() RETURNS trigger
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
BEGIN
    PERFORM calendar_laid();
    RETURN NULL;
END
$$;
CREATE OR REPLACE TRIGGER z_laid AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON working_days FOR EACH STATEMENT EXECUTE FUNCTION calendar_changed();
CREATE OR REPLACE TRIGGER z_laid AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON working_hours FOR EACH STATEMENT EXECUTE FUNCTION calendar_changed();
CREATE OR REPLACE TRIGGER z_laid AFTER UPDATE ON instance FOR EACH ROW WHEN (OLD.time_zone <> NEW.time_zone) EXECUTE FUNCTION calendar_changed();

-- What the State Council has published, from the first day of a year to the last of another: `exceptions` are the days on which
-- weekday and work differ, with the name of the holiday. A town's own days stay.
CREATE OR REPLACE FUNCTION calendar_published(first date, last date, exceptions jsonb) RETURNS integer
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
DECLARE
    fresh jsonb;
BEGIN
    SELECT jsonb_agg(jsonb_build_object('day', p.day, 'working', p.working, 'note', p.note)) INTO fresh FROM (
        SELECT d.day, coalesce(e.working, extract(isodow FROM d.day) < 6) AS working, coalesce(e.note, '') AS note
        FROM (SELECT day::date AS day FROM generate_series(first::timestamp, last::timestamp, interval '1 day') AS day) AS d
        LEFT JOIN jsonb_to_recordset(exceptions) AS e (day date, working boolean, note text) USING (day)
    ) AS p LEFT JOIN working_days AS w USING (day)
    WHERE w.day IS NULL OR (w.source = 'published' AND (w.working, w.note) IS DISTINCT FROM (p.working, p.note));
    IF NOT EXISTS (SELECT FROM working_hours) THEN
        INSERT INTO working_hours (opens, closes) VALUES ('8:00', '12:00'), ('14:00', '18:00');
    END IF;
    -- Laying sixty years out anew takes 0.2 s: not at every start for nothing.
    IF fresh IS NOT NULL THEN
        INSERT INTO working_days (day, working, note, source)
        SELECT day, working, note, 'published' FROM jsonb_to_recordset(fresh) AS f (day date, working boolean, note text)
        ON CONFLICT (day) DO UPDATE SET working = excluded.working, note = excluded.note;
    END IF;
    RETURN coalesce(jsonb_array_length(fresh), 0);
END
$$;

-- Whether the caller sets what holds everywhere here: calendar and limits.
CREATE OR REPLACE FUNCTION caller_times() RETURNS boolean
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
    SELECT caller_right() = 'owner' OR (caller_may('times') AND caller_holds(instance_prefix()))
$$;

-- Days of one's own: `days` as {day, working, note}.
CREATE OR REPLACE FUNCTION calendar_set(days jsonb) RETURNS integer
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
DECLARE
    done integer;
BEGIN
    IF NOT caller_times() THEN
        PERFORM refuse('no right to set the calendar of all');
    END IF;
    INSERT INTO working_days (day, working, note, source)
    SELECT day, working, coalesce(note, ''), 'own' FROM jsonb_to_recordset(days) AS d (day date, working boolean, note text)
    ON CONFLICT (day) DO UPDATE SET working = excluded.working, note = excluded.note, source = 'own';
    GET DIAGNOSTICS done = ROW_COUNT;
    RETURN done;
END
$$;

-- How long a stage may take.
CREATE OR REPLACE FUNCTION stage_limit_set(of_state text, of_urgent boolean, of_kind text, of_amount double precision, of_source text) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
BEGIN
    IF NOT caller_times() THEN
        PERFORM refuse('no right to set the limits of all');
    END IF;
    -- Of urgent cases one may begin to have a limit of its own.
    INSERT INTO stage_limits (state, urgent, clock, kind, amount, source)
    SELECT of_state, of_urgent, s.clock, of_kind, of_amount, of_source FROM stage_limits AS s WHERE s.state = of_state AND NOT s.urgent
    ON CONFLICT (state, urgent) DO UPDATE SET kind = excluded.kind, amount = excluded.amount, source = excluded.source;
    IF NOT FOUND THEN
        RAISE no_data_found USING MESSAGE = 'no such stage';
    END IF;
END
$$;

-- The limits of a table: each matter that it names has from now on those of the table and no others. What says the same as
-- before stays the row that it was. Returns how many began and how many ended.
CREATE OR REPLACE FUNCTION matter_limits_set(given jsonb, of_source text, OUT begun integer, OUT over integer)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
BEGIN
    IF NOT caller_times() THEN
        PERFORM refuse('no right to set the limits of all');
    END IF;
    LOCK TABLE matter_limits IN SHARE ROW EXCLUSIVE MODE;
    WITH named AS MATERIALIZED (
        SELECT g.*, m.id AS same FROM jsonb_to_recordset(given) AS g (
            matter text, code text, title text, condition text, closing text, kind text, amount double precision, unit text, department text, "row" integer)
        LEFT JOIN matter_limits AS m ON m.valid_to IS NULL
            AND (m.matter, m.code, m.title, m.condition, m.closing, m.kind, m.amount, m.unit, m.department)
                IS NOT DISTINCT FROM (g.matter, g.code, g.title, g.condition, g.closing, g.kind, g.amount, g.unit, g.department)
    ), ended AS (
        UPDATE matter_limits AS m SET valid_to = now()
        WHERE m.valid_to IS NULL AND NOT EXISTS (SELECT FROM named WHERE same = m.id)
          AND EXISTS (SELECT FROM named AS n WHERE n.matter = m.matter
                OR (n.matter IS NULL AND m.matter IS NULL AND (n.code, n.title) = (m.code, m.title)))
        RETURNING m.id
    ), fresh AS (
        INSERT INTO matter_limits (matter, code, title, condition, closing, kind, amount, unit, department, source)
        SELECT DISTINCT ON (matter, code, title, condition, closing, kind, amount, unit, department)
            matter, code, title, condition, closing, kind, amount, unit, department, of_source || ' ' || "row"
        FROM named WHERE same IS NULL
        ORDER BY matter, code, title, condition, closing, kind, amount, unit, department, "row"
        RETURNING id
    )
    SELECT (SELECT count(*) FROM fresh), (SELECT count(*) FROM ended) INTO begun, over;
END
$$;

-- How much of it there is by now: the limit, and the limit again for each extension.
CREATE OR REPLACE FUNCTION clock_total(c incident_clocks) RETURNS double precision
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT (c).amount * (1 + (c).extended)
$$;

-- When a running clock comes to so many times its limit.
CREATE OR REPLACE FUNCTION clock_reaches(c incident_clocks, times double precision) RETURNS timestamptz
LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT due_after((c).kind, times * clock_total(c) - (c).spent, (c).resumed_at)
$$;

-- Whether it took longer than it might, or has by then; what is exempt by an appeal counts as in time.
CREATE OR REPLACE FUNCTION clock_late(c incident_clocks, moment timestamptz) RETURNS boolean
LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT NOT (c).exempt AND CASE WHEN (c).ended_at IS NULL AND (c).paused_at IS NULL THEN (c).due_at < moment
        ELSE (c).spent * kind_seconds((c).kind) > clock_total(c) * kind_seconds((c).kind) + 1e-5 END
$$;

-- When the next alarm of a clock is to be given, of those that it has not had.
CREATE OR REPLACE FUNCTION clock_alarms_next(c incident_clocks) RETURNS timestamptz
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
BEGIN
    IF c.ended_at IS NOT NULL OR c.paused_at IS NOT NULL OR c.exempt THEN
        RETURN NULL;
    END IF;
    RETURN clock_reaches(c, (
        SELECT s.times FROM alarm_steps AS s
        WHERE NOT EXISTS (SELECT FROM clock_alarms AS a WHERE a.incident = c.incident AND a.number = c.number AND a.alarm = s.alarm)
        ORDER BY s.times LIMIT 1));
END
$$;

-- The limit of a case in a state: that of its matter where it is handled, the one chosen among several or the general one or the
-- shortest, and of the matter's class where the matter has none; else that of the stage.
CREATE OR REPLACE FUNCTION clock_limit(thing incidents, of_state text, at timestamptz, chosen uuid,
    OUT clock text, OUT kind text, OUT amount double precision, OUT matter_limit uuid)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
DECLARE
    own record;
BEGIN
    SELECT s.clock, s.kind, s.amount INTO clock, kind, amount FROM stage_limits AS s
    WHERE s.state = of_state AND (NOT s.urgent OR thing.urgent) ORDER BY s.urgent DESC LIMIT 1;
    IF clock = 'handle' THEN
        SELECT m.kind, m.amount, m.id INTO own FROM matter_limits AS m
        WHERE (chosen IS NULL OR m.id = chosen) AND m.valid_from <= at AND (m.valid_to IS NULL OR m.valid_to > at)
          AND m.matter IN (thing.matter, (SELECT parent FROM matters WHERE code = thing.matter))
        ORDER BY m.matter = thing.matter DESC, m.condition = '' DESC, due_after(m.kind, m.amount, at), m.id LIMIT 1;
        IF FOUND THEN
            kind := own.kind;
            amount := own.amount;
            matter_limit := own.id;
        ELSIF chosen IS NOT NULL THEN
            PERFORM broken('incidents_limit_check');
        END IF;
    END IF;
END
$$;

-- What becomes of the clock of a case by a step: it begins, stands still, goes on or ends. Returns when the case is due: when the
-- clock is that runs and counts, and never while none does. It is for the caller to write that down.
CREATE OR REPLACE FUNCTION clock_followed(thing incidents, action text, target text, at timestamptz, chosen uuid) RETURNS timestamptz
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
BEGIN
    RETURN CASE
        WHEN action = 'suspend' THEN clock_paused(thing.id, at)
        WHEN action = 'extend' THEN clock_extended(thing.id, at)
        WHEN action = 'exempt' THEN clock_exempted(thing.id)
        WHEN target = thing.state THEN thing.due_at
        ELSE clock_begun(thing, target, at, chosen) END;
END
$$;

-- A case comes into a state: its clock there begins, or goes on where both states are of one clock; the one before has ended.
CREATE OR REPLACE FUNCTION clock_begun(thing incidents, of_state text, at timestamptz, chosen uuid) RETURNS timestamptz
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
DECLARE
    held incident_clocks;
    limited record;
    due timestamptz;
BEGIN
    SELECT * INTO limited FROM clock_limit(thing, of_state, at, chosen);
    SELECT * INTO held FROM incident_clocks WHERE incident = thing.id AND ended_at IS NULL FOR UPDATE;
    IF held.clock = limited.clock THEN
        RETURN CASE WHEN held.paused_at IS NOT NULL THEN clock_resumed(thing.id, at) WHEN NOT held.exempt THEN held.due_at END;
    END IF;
    IF held.incident IS NOT NULL THEN
        UPDATE incident_clocks AS c SET ended_at = at, alarm_at = NULL,
            spent = c.spent + CASE WHEN c.paused_at IS NULL THEN time_spent(c.kind, c.resumed_at, at) ELSE 0 END
        WHERE c.incident = held.incident AND c.number = held.number;
    END IF;
    IF limited.clock IS NOT NULL THEN
        INSERT INTO incident_clocks (incident, number, state, clock, kind, amount, started_at, resumed_at, matter_limit, due_at, alarm_at)
        VALUES (
            thing.id, coalesce((SELECT max(number) FROM incident_clocks WHERE incident = thing.id), 0) + 1, of_state, limited.clock,
            limited.kind, limited.amount, at, at, limited.matter_limit, due_after(limited.kind, limited.amount, at),
            due_after(limited.kind, limited.amount * (SELECT min(times) FROM alarm_steps), at)
        ) RETURNING due_at INTO due;
    END IF;
    RETURN due;
END
$$;

-- Reckon anew when the clock of a case is due, and its next alarm, after what it says has changed.
CREATE OR REPLACE FUNCTION clock_told(of_incident uuid) RETURNS timestamptz
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
    UPDATE incident_clocks AS c SET due_at = CASE WHEN c.paused_at IS NULL THEN clock_reaches(c, 1) END, alarm_at = clock_alarms_next(c)
    WHERE c.incident = of_incident AND c.ended_at IS NULL RETURNING CASE WHEN NOT c.exempt THEN c.due_at END
$$;

-- 挂账: the clock stands still with what is left of it.
CREATE OR REPLACE FUNCTION clock_paused(of_incident uuid, at timestamptz) RETURNS timestamptz
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
BEGIN
    UPDATE incident_clocks AS c SET paused_at = at, spent = c.spent + time_spent(c.kind, c.resumed_at, at)
    WHERE c.incident = of_incident AND c.ended_at IS NULL AND c.paused_at IS NULL;
    RETURN clock_told(of_incident);
END
$$;

CREATE OR REPLACE FUNCTION clock_resumed(of_incident uuid, at timestamptz) RETURNS timestamptz
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
BEGIN
    UPDATE incident_clocks AS c SET paused_at = NULL, resumed_at = at
    WHERE c.incident = of_incident AND c.ended_at IS NULL AND c.paused_at IS NOT NULL;
    RETURN clock_told(of_incident);
END
$$;

-- 延期: the limit once more, twice at the most, and not of what is late already.
CREATE OR REPLACE FUNCTION clock_extended(of_incident uuid, at timestamptz) RETURNS timestamptz
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
DECLARE
    held incident_clocks;
BEGIN
    SELECT * INTO held FROM incident_clocks WHERE incident = of_incident AND ended_at IS NULL FOR UPDATE;
    IF held.incident IS NULL THEN
        PERFORM broken('incident_clocks_running_check');
    ELSIF held.extended >= 2 OR held.spent >= clock_total(held) OR held.due_at <= at THEN
        PERFORM broken('incident_log_extension_check');
    END IF;
    UPDATE incident_clocks SET extended = extended + 1 WHERE incident = of_incident AND number = held.number;
    RETURN clock_told(of_incident);
END
$$;

-- 申诉: an appeal that was approved, of the last clock of the handling, running or over.
CREATE OR REPLACE FUNCTION clock_exempted(of_incident uuid) RETURNS timestamptz
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
BEGIN
    UPDATE incident_clocks SET exempt = true WHERE incident = of_incident AND number = (
        SELECT max(number) FROM incident_clocks WHERE incident = of_incident AND clock = 'handle');
    RETURN clock_told(of_incident);
END
$$;

-- After the calendar has changed: when clocks that run by it are due now, and their cases. These are locked first, as by a step.
CREATE OR REPLACE FUNCTION clocks_reset() RETURNS integer
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
DECLARE
    moved uuid[];
BEGIN
    moved := ARRAY(
        SELECT c.incident FROM incident_clocks AS c
        WHERE c.ended_at IS NULL AND c.paused_at IS NULL AND c.kind IN ('work_hour', 'work_day') AND clock_reaches(c, 1) IS DISTINCT FROM c.due_at);
    PERFORM FROM incidents AS i WHERE i.id = ANY (moved) ORDER BY i.id FOR NO KEY UPDATE;
    UPDATE incident_clocks AS c SET due_at = clock_reaches(c, 1), alarm_at = clock_alarms_next(c)
    WHERE c.incident = ANY (moved) AND c.ended_at IS NULL AND c.paused_at IS NULL;
    UPDATE incidents AS i SET due_at = c.due_at FROM incident_clocks AS c
    WHERE i.id = ANY (moved) AND c.incident = i.id AND c.ended_at IS NULL AND NOT c.exempt AND i.due_at IS DISTINCT FROM c.due_at;
    RETURN cardinality(moved);
END
$$;

-- The alarms that are to be given by now, each given once: to whom they go, lowest first. One of `clock_alarms` is one that was told,
-- for ever: it is the record of it, and is no step of the case. As rows of the log they made whoever had the case open start anew, hid what
-- was asked for from whoever could grant it, and took 0.5 ms each where this takes 0.05 (docs/decisions/0058).
--
-- Clocks that somebody is moving at this moment are left for the next time. A step that comes to a clock which is taken waits for the pass.
-- The lowest alarm is due wherever any is; the one at the limit itself is due when the case is; only what lies beyond is reckoned.
DROP FUNCTION IF EXISTS clocks_swept(timestamptz, integer);
CREATE FUNCTION clocks_swept(moment timestamptz, most integer DEFAULT 5000)
RETURNS TABLE (incident uuid, number integer, state text, alarm text, times double precision, level text, area text, due_at timestamptz, scope text)
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
    WITH root AS MATERIALIZED (
        SELECT length(instance_prefix()) AS width
    ), steps AS MATERIALIZED (
        SELECT s.alarm, s.times, s.level, greatest(path_width(s.level), root.width) AS width, s.times = min(s.times) OVER () AS lowest
        FROM alarm_steps AS s, root
    ), taken AS MATERIALIZED (
        SELECT c.incident, c.number, c.state, c.kind, c.amount * (1 + c.extended) AS total, c.spent, c.resumed_at, c.due_at, i.scope
        FROM incident_clocks AS c JOIN incidents AS i ON i.id = c.incident
        WHERE c.alarm_at <= moment AND i.retired_at IS NULL ORDER BY c.alarm_at LIMIT most FOR NO KEY UPDATE OF c SKIP LOCKED
    ), reached AS MATERIALIZED (
        SELECT t.*, s.alarm, s.times, s.level, left(t.scope, s.width) COLLATE "C" AS area,
            CASE WHEN s.lowest THEN moment WHEN s.times = 1 THEN t.due_at
                ELSE due_after(t.kind, s.times * t.total - t.spent, t.resumed_at) END AS at
        FROM taken AS t CROSS JOIN steps AS s
    ), given AS (
        INSERT INTO clock_alarms (incident, number, alarm, at, due_at, area, times, level)
        SELECT r.incident, r.number, r.alarm, moment, r.due_at, r.area, r.times, r.level
        FROM reached AS r WHERE r.at <= moment
        ON CONFLICT DO NOTHING RETURNING *
    ), onward AS (
        UPDATE incident_clocks AS c SET alarm_at = r.at FROM (
            SELECT r.incident, r.number, min(r.at) FILTER (WHERE r.at > moment) AS at FROM reached AS r GROUP BY r.incident, r.number
        ) AS r WHERE c.incident = r.incident AND c.number = r.number
    )
    SELECT r.incident, r.number, r.state, r.alarm, r.times, r.level, r.area, r.due_at, r.scope
    FROM given AS g JOIN reached AS r USING (incident, number, alarm) ORDER BY r.times, r.incident
$$;

-- A pass of the clock: what is to be told is told, and those who look on hear which cases it was; and what was suspended until now goes
-- on. Returns how much was done of each. The trail tells what people did: what the clock told, its alarms say themselves.
CREATE OR REPLACE FUNCTION incidents_swept(moment timestamptz, most integer, OUT told integer, OUT resumed integer)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
DECLARE
    taken constant timestamptz := moment_told(moment);
    thing incidents;
BEGIN
    WITH swept AS MATERIALIZED (
        SELECT s.incident, s.scope FROM clocks_swept(taken, most) AS s
    ), heard AS (
        INSERT INTO changes (actor, acting_as, noun, feature, operation, scope_after)
        SELECT DISTINCT acting(), acting_as(), 'incidents', s.incident, 'tell', s.scope COLLATE "C" FROM swept AS s
    )
    SELECT count(*) INTO told FROM swept;
    resumed := 0;
    FOR thing IN
        SELECT i.* FROM incidents AS i
        WHERE i.state = 'suspended' AND i.suspended_until <= taken AND i.retired_at IS NULL ORDER BY i.suspended_until LIMIT least(most, 200) FOR UPDATE SKIP LOCKED
    LOOP
        PERFORM incident_stepped(thing, 'resume', '{}', NULL, NULL, ARRAY['system'], taken);
        resumed := resumed + 1;
    END LOOP;
END
$$;

-- The clocks of a case, for whoever works with it.
CREATE OR REPLACE FUNCTION clocks_told(of_incident uuid)
RETURNS TABLE (number integer, state text, clock text, kind text, amount double precision, started_at timestamptz, due_at timestamptz,
               paused_at timestamptz, ended_at timestamptz, spent double precision, extended integer, exempt boolean, late boolean, alarms text[])
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
    SELECT c.number, c.state, c.clock, c.kind, c.amount, c.started_at, c.due_at, c.paused_at, c.ended_at,
        c.spent + CASE WHEN c.ended_at IS NULL AND c.paused_at IS NULL THEN time_spent(c.kind, c.resumed_at, now()) ELSE 0 END,
        c.extended, c.exempt, clock_late(c, now()),
        ARRAY(SELECT a.alarm FROM clock_alarms AS a WHERE (a.incident, a.number) = (c.incident, c.number) ORDER BY a.at, a.alarm)
    FROM incidents AS i JOIN incident_clocks AS c ON c.incident = i.id
    WHERE i.id = of_incident AND i.retired_at IS NULL AND incident_in_hand(i) ORDER BY c.number
$$;
