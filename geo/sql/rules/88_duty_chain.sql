-- What is urgent is told at once to those who are responsible, and up the areas for as long as nobody says that they have heard.

-- How long an office has to hear: as the smallest area around has it.
CREATE OR REPLACE FUNCTION duty_wait(of_area text) RETURNS interval
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
    SELECT make_interval(mins => coalesce((
        SELECT w.minutes FROM duty_waits AS w WHERE of_area LIKE w.area || '%' ORDER BY length(w.area) DESC LIMIT 1), 5))
$$;

-- Those of a level are told, and where nobody is responsible those of the next at once, up to the street; each level once. Returns the
-- levels that were told and those where there is nobody.
CREATE OR REPLACE FUNCTION duty_called(thing incidents, from_level text, taken timestamptz) RETURNS jsonb
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
DECLARE
    now_level text := from_level;
    there text;
    staffed boolean;
    told jsonb := '[]';
    gaps jsonb := '[]';
BEGIN
    LOOP
        there := left(thing.scope, path_width(now_level));
        staffed := EXISTS (
            SELECT FROM appointments AS a JOIN appointment_areas AS h ON h.appointment = a.id
            WHERE a.role = ANY (duty_roles(now_level)) AND in_office(a) AND there COLLATE "C" >= h.path AND there COLLATE "C" < h.path || '~');
        INSERT INTO duty_calls (incident, level, area, told_at, due_at, gap)
        VALUES (thing.id, now_level, there, taken, CASE WHEN staffed THEN taken + duty_wait(there) ELSE taken END, NOT staffed)
        ON CONFLICT (incident, level) DO NOTHING;
        told := told || to_jsonb(now_level);
        EXIT WHEN staffed OR now_level IN ('street', 'district');
        gaps := gaps || to_jsonb(now_level);
        UPDATE duty_calls SET raised_at = taken WHERE incident = thing.id AND level = now_level;
        now_level := duty_next(now_level);
    END LOOP;
    RETURN jsonb_build_object('told', told) || CASE WHEN staffed THEN CASE WHEN gaps = '[]' THEN '{}' ELSE jsonb_build_object('gaps', gaps) END
        ELSE jsonb_build_object('gaps', gaps || to_jsonb(now_level)) END;
END
$$;

CREATE OR REPLACE FUNCTION duty_next(level text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE level WHEN 'grid' THEN 'community' WHEN 'community' THEN 'street' END
$$;

-- A part of a case is known to whoever was told of the whole.
CREATE OR REPLACE FUNCTION duty_begun() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
BEGIN
    IF length(NEW.scope) >= path_width('district') AND NEW.state NOT IN ('closed', 'feedback', 'rejected', 'cancelled', 'merged') THEN
        PERFORM duty_called(NEW, area_level(NEW.scope), now());
    END IF;
    RETURN NULL;
END
$$;
CREATE OR REPLACE TRIGGER f_told AFTER INSERT ON incidents FOR EACH ROW
    WHEN (NEW.urgent AND NEW.parent IS NULL AND current_user <> 'jingwei_loader') EXECUTE FUNCTION duty_begun();
CREATE OR REPLACE TRIGGER f_told_late AFTER UPDATE OF urgent ON incidents FOR EACH ROW
    WHEN (NEW.urgent AND NOT OLD.urgent AND NEW.parent IS NULL AND current_user <> 'jingwei_loader') EXECUTE FUNCTION duty_begun();

CREATE OR REPLACE FUNCTION duty_acknowledged(of_incident uuid, taken timestamptz) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
BEGIN
    UPDATE duty_calls SET acknowledged_at = greatest(taken, told_at), acknowledged_by = acting() WHERE incident = of_incident AND acknowledged_at IS NULL;
    IF NOT FOUND THEN
        PERFORM broken('duty_calls_acknowledged_check');
    END IF;
END
$$;

-- A pass: what nobody has heard of in time goes to the next level, and a department that is late is told of; each once for ever. All of
-- it or nothing, so that what was not committed is done by the next pass, whichever process makes it.
CREATE OR REPLACE FUNCTION duties_swept(moment timestamptz, most integer, OUT raised integer, OUT late integer)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
DECLARE
    taken constant timestamptz := moment_told(moment);
    thing incidents;
    last record;
BEGIN
    raised := 0;
    late := 0;
    FOR thing IN
        SELECT i.* FROM incidents AS i JOIN (
            SELECT DISTINCT d.incident FROM duty_calls AS d WHERE d.acknowledged_at IS NULL AND d.raised_at IS NULL AND d.due_at <= taken LIMIT most
        ) AS due ON due.incident = i.id ORDER BY i.id FOR UPDATE OF i SKIP LOCKED
    LOOP
        FOR last IN
            UPDATE duty_calls SET raised_at = greatest(taken, told_at)
            WHERE incident = thing.id AND acknowledged_at IS NULL AND raised_at IS NULL AND due_at <= taken RETURNING level
        LOOP
            IF thing.retired_at IS NULL AND duty_next(last.level) IS NOT NULL AND EXISTS (
                SELECT FROM incident_moves AS m WHERE m.action = 'escalate' AND m.source = thing.state) THEN
                PERFORM incident_stepped(thing, 'escalate', jsonb_build_object('unheard', last.level) || duty_called(thing, duty_next(last.level), taken),
                                         NULL, NULL, ARRAY['system'], taken);
                SELECT * INTO thing FROM incidents WHERE id = thing.id;
                raised := raised + 1;
            END IF;
        END LOOP;
    END LOOP;
    FOR last IN
        SELECT c.id, c.organisation, w.incident FROM whistle_calls AS c JOIN whistles AS w ON w.id = c.whistle JOIN incidents AS i ON i.id = w.incident
        WHERE c.arrived_at IS NULL AND c.late_told_at IS NULL AND c.due_at <= taken ORDER BY c.due_at LIMIT most FOR UPDATE OF i, c SKIP LOCKED
    LOOP
        UPDATE whistle_calls SET late_told_at = taken WHERE id = last.id;
        SELECT * INTO thing FROM incidents WHERE id = last.incident;
        IF EXISTS (SELECT FROM whistles WHERE incident = thing.id AND released_at IS NULL) THEN
            PERFORM incident_stepped(thing, 'escalate', jsonb_build_object('body', last.organisation), NULL, NULL, ARRAY['system'], taken);
            late := late + 1;
        END IF;
    END LOOP;
END
$$;

-- Who was told of a case, level by level, and whether anybody has heard, for whoever works with it.
CREATE OR REPLACE FUNCTION duty_calls_told(of_incident uuid)
RETURNS TABLE (level text, area text, title text, told_at timestamptz, due_at timestamptz, gap boolean, acknowledged_at timestamptz, acknowledged_by text, raised_at timestamptz)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
    SELECT d.level, d.area, area_title(d.area), d.told_at, d.due_at, d.gap, d.acknowledged_at, a.name, d.raised_at
    FROM incidents AS i JOIN duty_calls AS d ON d.incident = i.id LEFT JOIN accounts AS a ON a.login = d.acknowledged_by
    WHERE i.id = of_incident AND i.retired_at IS NULL AND incident_in_hand(i) ORDER BY length(d.area) DESC
$$;

-- How long those of an area and below have to hear of what is urgent, from now on.
CREATE OR REPLACE FUNCTION duty_wait_set(of_area text, of_minutes integer) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
BEGIN
    IF NOT (caller_may('times') AND caller_holds(of_area)) THEN
        PERFORM refuse('no right to set the times of this area');
    END IF;
    INSERT INTO duty_waits (area, minutes) VALUES (of_area, of_minutes) ON CONFLICT (area) DO UPDATE SET minutes = excluded.minutes;
END
$$;

INSERT INTO duty_waits (area, minutes) VALUES ('', 5) ON CONFLICT DO NOTHING;
