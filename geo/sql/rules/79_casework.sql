-- The case machine. Nobody writes the state of a case: a move is a row of the log, whose foreign keys say which there are and in
-- which capacity one may take them (geo/casework.py); these functions find out who asks, and carry what a move brings with it.

-- The body that the caller stands for, where their appointment names one.
CREATE OR REPLACE FUNCTION caller_organisation() RETURNS uuid
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
    SELECT b.organisation FROM caller_appointment() AS a JOIN appointment_bodies AS b ON b.appointment = coalesce(a.stands_in_for, a.id)
$$;

-- The cases that the body of the caller is called to, until it may go and has gone.
CREATE OR REPLACE FUNCTION incidents_called() RETURNS SETOF uuid
LANGUAGE sql STABLE SECURITY DEFINER ROWS 10 SET search_path = jingwei, public, pg_temp AS $$
    SELECT w.incident FROM whistle_calls AS c JOIN whistles AS w ON w.id = c.whistle
    WHERE c.organisation = (SELECT caller_organisation()) AND (w.released_at IS NULL OR (c.arrived_at IS NOT NULL AND c.left_at IS NULL))
$$;

-- Whether the caller works with a case: by its place, by its matter, or because it is theirs.
CREATE OR REPLACE FUNCTION incident_in_hand(thing incidents) RETURNS boolean
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
    SELECT coalesce(CASE caller_right()
        WHEN 'owner' THEN true
        WHEN 'area' THEN caller_holds(thing.scope)
        WHEN 'leader' THEN caller_holds(thing.scope)
        WHEN 'organisation' THEN thing.lead = caller_organisation() OR thing.id IN (SELECT incidents_called())
            OR (caller_holds(thing.scope) AND thing.matter = ANY (string_to_array(current_setting('jingwei.categories', true), ',')))
        ELSE false END, false)
$$;

-- Whether it is the caller's to act on. A body without anybody who could sign in is acted for by those above the place; what was
-- loaded without saying whose it is, is whoever's works with it. Those at the desk (acceptor, dispatcher, checker) lead nothing.
CREATE OR REPLACE FUNCTION incident_led(thing incidents) RETURNS boolean
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
    SELECT coalesce(CASE
        WHEN caller_right() NOT IN ('area', 'leader', 'organisation')
            OR (caller_right() = 'area' AND (caller_appointment()).role NOT IN ('grid_worker', 'grid_leader')) THEN false
        WHEN thing.lead IS NOT NULL THEN thing.lead = caller_organisation()
            OR (caller_right() = 'leader' AND caller_holds(thing.scope) AND NOT EXISTS (
                SELECT FROM appointment_bodies AS b JOIN appointments AS a ON b.appointment IN (a.id, a.stands_in_for) WHERE b.organisation = thing.lead AND in_office(a)))
        WHEN thing.lead_area IS NOT NULL THEN caller_right() IN ('area', 'leader') AND caller_holds(thing.lead_area)
        ELSE incident_in_hand(thing) END, false)
$$;

-- In which capacities the caller may move a case, the plainest first.
CREATE OR REPLACE FUNCTION incident_capacities(thing incidents) RETURNS text[]
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
    SELECT array_remove(ARRAY[
        CASE WHEN incident_led(thing) THEN 'lead' END,
        CASE WHEN caller_right() = 'owner' THEN 'system' WHEN caller_right() IN ('area', 'leader', 'organisation') THEN (caller_appointment()).role END,
        CASE WHEN caller_right() = 'organisation' AND thing.id IN (SELECT incidents_called()) THEN 'called' END,
        CASE WHEN thing.owner = caller_account() THEN 'reporter' END], NULL)
$$;

-- What the responsibility list says of a case, the line that decides first: on somebody's premises before by territory, the
-- smaller area before the larger, the matter itself before its class; as the list was when it was reported. Nobody leads what is
-- reported against them. Premises are those of the compound that the place lies in, and its property company's, by name.
CREATE OR REPLACE FUNCTION incident_routes(thing incidents)
RETURNS TABLE (item uuid, part text, by text, organisation uuid, area text, matter text, within text, duties text, legal_basis text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
    WITH told AS (
        SELECT d.*, CASE d.by
            WHEN 'organisation' THEN d.organisation
            WHEN 'owner' THEN (SELECT o.id FROM compounds AS c
                JOIN organisations AS o ON o.name = c.property_company AND o.kind = 'property_company' AND o.retired_at IS NULL
                WHERE c.retired_at IS NULL AND ST_Covers(c.geom, thing.geom) ORDER BY c.id, o.id LIMIT 1)
            END AS body,
            CASE WHEN d.by NOT IN ('organisation', 'owner') AND length(thing.scope) >= path_width(d.by)
                THEN left(thing.scope, path_width(d.by)) END AS place
        FROM duty_items AS d
        WHERE d.retired_at IS NULL AND d.part <> 'admit' AND thing.scope COLLATE "C" >= d.area AND thing.scope COLLATE "C" < d.area || '~'
          AND d.matter IN (thing.matter, (SELECT m.parent FROM matters AS m WHERE m.code = thing.matter))
          AND d.starts_at <= coalesce(thing.reported_at, now()) AND (d.ends_at IS NULL OR d.ends_at > coalesce(thing.reported_at, now()))
    )
    SELECT told.id, told.part, told.by, told.body, told.place, told.matter, told.area, told.duties, told.legal_basis
    FROM told WHERE num_nonnulls(told.body, told.place) = 1 AND (thing.against IS NULL OR told.body IS DISTINCT FROM thing.against)
    ORDER BY told.part = 'lead' DESC, told.by = 'owner' DESC, length(told.area) DESC, told.matter = thing.matter DESC, told.id
$$;

-- The same, for whoever works with it.
CREATE OR REPLACE FUNCTION incident_routed(of_incident uuid)
RETURNS TABLE (item uuid, part text, by text, organisation uuid, area text, matter text, within text, duties text, legal_basis text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
    SELECT r.* FROM incidents AS i, incident_routes(i) AS r WHERE i.id = of_incident AND i.retired_at IS NULL AND incident_in_hand(i)
$$;

-- The first row of the log of what was just reported, given out as a part of something, or loaded as it stood elsewhere.
CREATE OR REPLACE FUNCTION incident_given_out(thing incidents) RETURNS boolean
LANGUAGE sql IMMUTABLE AS $$
    SELECT thing.state = 'dispatched' AND (thing.parent IS NOT NULL OR thing.channel = 'superior')
$$;

CREATE OR REPLACE FUNCTION incident_begun() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
BEGIN
    INSERT INTO incident_log (incident, number, action, source, target, role, reasoned, at, actor, acting_as, scope)
    VALUES (NEW.id, 1, CASE WHEN NEW.state = 'reported' THEN 'report' WHEN incident_given_out(NEW) THEN 'assign' ELSE 'load' END, '', NEW.state,
            CASE NEW.state WHEN 'reported' THEN 'reporter' ELSE 'system' END, false, coalesce(least(NEW.reported_at, now()), now()),
            acting(), acting_as(), NEW.scope);
    IF NEW.state = 'reported' OR incident_given_out(NEW) THEN
        PERFORM clock_begun(NEW, NEW.state, least(NEW.reported_at, now()), NULL);
    END IF;
    RETURN NULL;
END
$$;

CREATE OR REPLACE FUNCTION incident_stamped() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
BEGIN
    NEW.steps := 1;
    NEW.reported_at := coalesce(NEW.reported_at, now());
    IF NEW.state = 'reported' OR incident_given_out(NEW) THEN
        NEW.due_at := (SELECT due_after(l.kind, l.amount, least(NEW.reported_at, now())) FROM clock_limit(NEW, NEW.state, now(), NULL) AS l);
    END IF;
    RETURN NEW;
END
$$;

-- The loader's rows begin their log when they first move: a row more for each of a million cost a load as much again.
CREATE OR REPLACE TRIGGER a_stamped BEFORE INSERT ON incidents FOR EACH ROW WHEN (current_user <> 'jingwei_loader') EXECUTE FUNCTION incident_stamped();
-- Called so that it comes before PostgreSQL's own triggers (RI_…), which ask for this first row.
DROP TRIGGER IF EXISTS y_begun ON incidents;
CREATE OR REPLACE TRIGGER "A_begun" AFTER INSERT ON incidents FOR EACH ROW WHEN (current_user <> 'jingwei_loader') EXECUTE FUNCTION incident_begun();

-- One step of a case whose row is locked, in the first of some capacities in which there is one.
CREATE OR REPLACE FUNCTION incident_stepped(
    thing incidents, wanted text, given jsonb, expected integer, again text, capacities text[], moment timestamptz
) RETURNS incident_log
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
DECLARE
    taken timestamptz := moment_told(moment);
    step incident_moves;
    asked incident_log;
    -- Where somebody was when they reported in is kept with their call alone, and for a month.
    facts jsonb := jsonb_strip_nulls(given - ARRAY['opinion', 'place']);
    route record;
    missing text;
    into_ incidents;
    due timestamptz;
    made incident_log;
BEGIN
    IF thing.steps IS NULL THEN
        INSERT INTO incident_log (incident, number, action, source, target, role, reasoned, at, actor, scope)
        VALUES (thing.id, 1, 'load', '', thing.state, 'system', false, coalesce(least(thing.reported_at, taken), taken), 'load', thing.scope);
        thing.steps := 1;
    END IF;
    IF expected IS DISTINCT FROM thing.steps AND expected IS NOT NULL THEN
        RAISE unique_violation USING MESSAGE = 'moved meanwhile', TABLE = 'incident_log', CONSTRAINT = 'incident_log_pkey';
    END IF;
    SELECT greatest(taken, l.at) INTO taken FROM incident_log AS l WHERE l.incident = thing.id AND l.number = thing.steps;
    SELECT m.* INTO step FROM incident_moves AS m
    WHERE m.action = wanted AND m.source = thing.state AND m.role = ANY (capacities)
      AND (wanted <> 'unmerge' OR m.target = (
          SELECT l.source FROM incident_log AS l WHERE l.incident = thing.id AND l.action = 'merge' ORDER BY l.number DESC LIMIT 1))
    ORDER BY array_position(capacities, m.role) LIMIT 1;
    IF NOT FOUND THEN
        IF EXISTS (SELECT FROM incident_moves AS m WHERE m.action = wanted AND m.source = thing.state) THEN
            PERFORM refuse('no right to this step');
        END IF;
        RAISE foreign_key_violation USING MESSAGE = 'no such step from here', TABLE = 'incident_log', CONSTRAINT = 'incident_log_move_fkey';
    END IF;
    -- What was asked for, by whom, since the case was last given to somebody.
    SELECT l.* INTO asked FROM incident_log AS l
    WHERE l.incident = thing.id AND l.action = CASE wanted
        WHEN 'pass' THEN 'handle' WHEN 'fail' THEN 'handle' WHEN 'extend' THEN 'ask_extension' WHEN 'suspend' THEN 'ask_suspension'
        WHEN 'exempt' THEN 'appeal' WHEN 'force' THEN 'ask_force' END
      AND NOT EXISTS (SELECT FROM incident_log AS later WHERE later.incident = l.incident AND later.number > l.number
                      AND later.action IN ('dispatch', 'rule', 'reopen', 'object'))
    ORDER BY l.number DESC LIMIT 1;
    IF asked.actor = acting() AND step.role <> 'system' THEN
        PERFORM broken('incident_log_second_person_check');
    ELSIF wanted IN ('force', 'exempt') AND asked.incident IS NULL THEN
        PERFORM broken('incident_log_asked_check');
    END IF;

    -- 分级处置: what the grade asks for first.
    SELECT g.action INTO missing FROM incident_grades AS g
    WHERE g.grade = thing.grade AND g.waits = wanted
      AND NOT EXISTS (SELECT FROM incident_log AS l WHERE l.incident = thing.id AND l.action = g.action) LIMIT 1;
    IF missing IS NOT NULL THEN
        PERFORM broken('incident_log_' || missing || '_check');
    END IF;
    IF wanted IN ('handle', 'close') THEN
        PERFORM FROM incidents AS p WHERE p.parent = thing.id ORDER BY p.id FOR SHARE;
        IF EXISTS (SELECT FROM incidents AS p WHERE p.parent = thing.id AND p.retired_at IS NULL
                   AND NOT p.state = ANY (CASE wanted WHEN 'handle' THEN ARRAY['handled', 'checking', 'checked'] ELSE '{}' END
                                          || ARRAY['closed', 'feedback', 'rejected', 'cancelled', 'merged'])) THEN
            PERFORM broken('incidents_parts_check');
        END IF;
    END IF;

    CASE wanted
        WHEN 'dispatch', 'rule' THEN
            thing.lead := (given ->> 'lead')::uuid;
            thing.lead_area := given ->> 'lead_area';
            IF num_nonnulls(thing.lead, thing.lead_area) = 0 THEN
                SELECT * INTO route FROM incident_routes(thing) AS r WHERE r.part = 'lead' LIMIT 1;
                IF NOT FOUND THEN
                    PERFORM broken('incidents_route_check');
                END IF;
                thing.lead := route.organisation;
                thing.lead_area := route.area;
                facts := facts || jsonb_build_object('item', route.item);
            END IF;
            IF thing.lead_area IS NOT NULL THEN
                IF NOT EXISTS (SELECT FROM areas AS a WHERE a.path = thing.lead_area AND area_holds(a, taken)) THEN
                    PERFORM broken('incidents_lead_area_check');
                END IF;
                -- Of what has no place, the area that is to act is the smallest that is sure.
                IF thing.lead_area COLLATE "C" >= thing.scope AND thing.lead_area COLLATE "C" < thing.scope || '~' THEN
                    thing.scope := thing.lead_area;
                END IF;
            END IF;
            PERFORM admission_asked(thing.matter, thing.lead_area, taken);
            facts := facts || jsonb_strip_nulls(jsonb_build_object('lead', thing.lead, 'lead_area', thing.lead_area));
            IF wanted = 'rule' AND (given ->> 'listed')::boolean THEN
                facts := facts || jsonb_build_object('listed', ruling_listed(thing, taken, coalesce(given ->> 'opinion', '')));
            END IF;
        WHEN 'split', 'assist' THEN
            facts := facts || jsonb_build_object('part', part_given(thing, given, taken));
        WHEN 'whistle' THEN
            PERFORM whistle_blown(thing, given, taken);
        WHEN 'respond', 'report_in', 'leave' THEN
            facts := facts || call_followed(thing.id, wanted, given, taken);
        WHEN 'release' THEN
            IF NOT whistle_over(thing.id, taken) THEN
                PERFORM broken('whistles_standing_check');
            END IF;
        WHEN 'acknowledge' THEN
            PERFORM duty_acknowledged(thing.id, taken);
        WHEN 'convene', 'report_up' THEN
            IF NOT EXISTS (SELECT FROM incident_grades AS g WHERE g.grade = thing.grade AND g.action = wanted) THEN
                PERFORM broken('incident_log_grade_check');
            END IF;
            IF wanted = 'report_up' AND length(thing.scope) >= path_width('district') THEN
                facts := facts || duty_called(thing, 'district', taken);
            END IF;
        WHEN 'reject', 'cancel' THEN
            -- Over, if not closed: from here on the days run after which the reporter's phone is destroyed.
            thing.closed_at := taken;
        WHEN 'return', 'dispute' THEN
            thing.returns := thing.returns + 1;
            facts := facts || jsonb_strip_nulls(jsonb_build_object('lead', thing.lead, 'lead_area', thing.lead_area));
        WHEN 'extend' THEN
            IF (SELECT count(*) >= 2 FROM incident_log AS l WHERE l.incident = thing.id AND l.action = 'extend') OR thing.due_at <= taken THEN
                PERFORM broken('incident_log_extension_check');
            END IF;
        WHEN 'suspend' THEN
            thing.suspended_until := (given ->> 'until')::timestamptz;
            IF thing.suspended_until IS NULL OR thing.suspended_until <= taken OR thing.suspended_until > taken + interval '366 days'
               OR EXISTS (SELECT FROM incident_log AS l WHERE l.incident = thing.id AND l.action = 'suspend') THEN
                PERFORM broken('incident_log_suspension_check');
            END IF;
        WHEN 'resume' THEN
            thing.suspended_until := NULL;
        WHEN 'close', 'force' THEN
            thing.closed_at := taken;
            thing.forced := wanted = 'force';
            thing.suspended_until := NULL;
        WHEN 'object', 'reopen' THEN
            IF wanted = 'object' AND taken > thing.closed_at + interval '15 days' THEN
                PERFORM broken('incident_log_objection_check');
            END IF;
            IF num_nonnulls(thing.lead, thing.lead_area) = 0 THEN
                thing.lead_area := thing.scope;
            END IF;
            thing.closed_at := NULL;
            thing.forced := false;
            facts := facts || jsonb_strip_nulls(jsonb_build_object('lead', thing.lead, 'lead_area', thing.lead_area));
        WHEN 'rate' THEN
            thing.rating := (given ->> 'rating')::integer;
            IF thing.rating IS NULL THEN
                PERFORM broken('incident_log_rating_check');
            END IF;
        WHEN 'grade' THEN
            thing.grade := given ->> 'grade';
            IF thing.grade IS NULL THEN
                PERFORM broken('incidents_grade_check');
            ELSIF length(btrim(coalesce(given ->> 'opinion', ''))) < 2 THEN
                PERFORM broken('incident_log_opinion_check');
            END IF;
        WHEN 'supervise' THEN
            thing.supervised := true;
        WHEN 'merge' THEN
            SELECT * INTO into_ FROM incidents WHERE id = (given ->> 'into')::uuid AND retired_at IS NULL FOR SHARE;
            -- One that is merged itself leads on to another, and a ring of them to none.
            IF NOT FOUND OR into_.id = thing.id OR into_.state = 'merged' OR NOT incident_in_hand(into_)
               OR EXISTS (SELECT FROM incidents WHERE duplicate_of = thing.id AND state = 'merged') THEN
                PERFORM broken('incidents_duplicate_of_check');
            END IF;
            thing.duplicate_of := into_.id;
            thing.closed_at := taken;
        WHEN 'unmerge' THEN
            thing.duplicate_of := NULL;
            thing.closed_at := NULL;
        ELSE NULL;
    END CASE;

    due := clock_followed(thing, step.action, step.target, taken, (given ->> 'limit')::uuid);
    INSERT INTO incident_log (incident, number, action, source, target, role, reasoned, at, actor, acting_as, scope, opinion, facts, key)
    VALUES (thing.id, thing.steps + 1, step.action, step.source, step.target, step.role, step.reasoned, taken, acting(), acting_as(), thing.scope,
            coalesce(given ->> 'opinion', ''), facts, again)
    RETURNING * INTO made;
    UPDATE incidents SET state = step.target, steps = made.number, due_at = due, scope = thing.scope, lead = thing.lead, lead_area = thing.lead_area,
        returns = thing.returns, suspended_until = thing.suspended_until, closed_at = thing.closed_at, forced = thing.forced,
        rating = thing.rating, grade = thing.grade, supervised = thing.supervised, duplicate_of = thing.duplicate_of
    WHERE id = thing.id;
    IF step.target <> step.source AND step.target IN ('handled', 'closed', 'rejected', 'cancelled', 'merged') THEN
        PERFORM whistle_over(thing.id, taken);
    END IF;
    RETURN made;
END
$$;

-- A rule broken, by its name.
CREATE OR REPLACE FUNCTION broken(rule text) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    RAISE check_violation USING MESSAGE = rule, CONSTRAINT = rule, TABLE = split_part(rule, '_', 1);
END
$$;

-- A step by whoever works with the case; sent again under its key it is the same step. The row of the case is locked first, so
-- that several who move it stand in line, and all but the first find it elsewhere.
CREATE OR REPLACE FUNCTION incident_moved(
    of_incident uuid, wanted text, given jsonb, expected integer, again text, moment timestamptz
) RETURNS TABLE (number integer, state text, at timestamptz, replayed boolean)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
DECLARE
    thing incidents;
    known incident_log;
BEGIN
    IF again IS NOT NULL THEN
        PERFORM pg_advisory_xact_lock(hashtextextended(acting() || E'\n' || again, 0));
        SELECT l.* INTO known FROM incident_log AS l WHERE l.actor = acting() AND l.key = again;
        IF FOUND THEN
            IF known.incident <> of_incident OR known.action <> wanted OR known.opinion <> coalesce(given ->> 'opinion', '') THEN
                RAISE unique_violation USING MESSAGE = 'another step under the same key', TABLE = 'idempotency', CONSTRAINT = 'idempotency_key';
            END IF;
            RETURN QUERY SELECT known.number, known.target, known.at, true;
            RETURN;
        END IF;
    END IF;
    SELECT i.* INTO thing FROM incidents AS i WHERE i.id = of_incident AND i.retired_at IS NULL FOR UPDATE;
    IF NOT FOUND OR NOT (incident_in_hand(thing) OR coalesce(thing.owner = caller_account(), false)) THEN
        RAISE no_data_found USING MESSAGE = 'no such case';
    END IF;
    SELECT s.* INTO known FROM incident_stepped(thing, wanted, given, expected, again, incident_capacities(thing), moment) AS s;
    RETURN QUERY SELECT known.number, known.target, known.at, false;
END
$$;

-- The case of a report, held until the end of the transaction: whoever has ticket and code has reported it.
CREATE OR REPLACE FUNCTION report_proved(wanted_ticket text, hashes bytea[]) RETURNS incidents
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
DECLARE
    thing incidents;
BEGIN
    SELECT i.* INTO thing FROM receipts AS r JOIN incidents AS i ON i.id = r.incident
    WHERE r.ticket = wanted_ticket AND r.code_hash = ANY (hashes) AND NOT r.follows AND i.retired_at IS NULL FOR UPDATE OF i;
    IF NOT FOUND THEN
        RAISE no_data_found USING MESSAGE = 'no such report';
    END IF;
    RETURN thing;
END
$$;

-- A step by whoever has ticket and code, and no account: they may take back what nobody has begun with, rate, and object.
CREATE OR REPLACE FUNCTION report_moved(wanted_ticket text, hashes bytea[], wanted text, given jsonb, moment timestamptz)
RETURNS TABLE (number integer, state text, at timestamptz)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
DECLARE
    thing incidents;
    made incident_log;
BEGIN
    thing := report_proved(wanted_ticket, hashes);
    SELECT s.* INTO made FROM incident_stepped(thing, wanted, given, NULL, NULL, ARRAY['reporter'], moment) AS s;
    RETURN QUERY SELECT made.number, made.target, made.at;
END
$$;

-- The steps that the caller may take from where a case stands.
CREATE OR REPLACE FUNCTION incident_moves_told(of_incident uuid)
RETURNS TABLE (action text, target text, role text, reasoned boolean, steps integer)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
    SELECT DISTINCT ON (m.action) m.action, m.target, m.role, m.reasoned, i.steps
    FROM incidents AS i CROSS JOIN LATERAL (SELECT incident_capacities(i) AS held OFFSET 0) AS mine
    JOIN incident_moves AS m ON m.source = i.state AND m.role = ANY (mine.held)
    WHERE i.id = of_incident AND i.retired_at IS NULL AND (incident_in_hand(i) OR i.owner = caller_account())
      AND (m.action <> 'unmerge' OR m.target = (
          SELECT l.source FROM incident_log AS l WHERE l.incident = i.id AND l.action = 'merge' ORDER BY l.number DESC LIMIT 1))
    ORDER BY m.action, array_position(mine.held, m.role)
$$;

-- Every step that a case has taken, for whoever works with it, and beside them what was told of its clocks, by the number of the step
-- that it came after. Who reported it is not among them.
CREATE OR REPLACE FUNCTION incident_log_told(of_incident uuid)
RETURNS TABLE (number integer, action text, source text, target text, role text, at timestamptz, actor text, acting_as text, area text, opinion text, facts jsonb)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
    WITH steps AS MATERIALIZED (
        SELECT l.* FROM incidents AS i JOIN incident_log AS l ON l.incident = i.id
        WHERE i.id = of_incident AND i.retired_at IS NULL AND incident_in_hand(i)
    )
    SELECT l.number, l.action, l.source, l.target, l.role, l.at, CASE WHEN l.role = 'reporter' THEN '' ELSE l.actor END,
        CASE WHEN l.role = 'reporter' THEN '' ELSE l.acting_as END, l.scope, l.opinion, l.facts
    FROM steps AS l
    UNION ALL
    SELECT s.number, CASE WHEN a.times < 1 THEN 'remind' ELSE 'escalate' END, s.target, s.target, 'system', a.at, 'clock', '', s.scope, '',
        jsonb_build_object('alarm', a.alarm, 'level', a.level, 'area', a.area, 'due_at', a.due_at)
    FROM clock_alarms AS a CROSS JOIN LATERAL (SELECT l.* FROM steps AS l WHERE l.at <= a.at OR l.number = 1 ORDER BY l.number DESC LIMIT 1) AS s
    WHERE a.incident = of_incident
    ORDER BY 1, 6, 2 DESC
$$;

-- Who is responsible at a level.
CREATE OR REPLACE FUNCTION duty_roles(level text) RETURNS text[]
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE level WHEN 'grid' THEN ARRAY['grid_worker', 'grid_leader'] WHEN 'community' THEN ARRAY['community_leader'] ELSE ARRAY[level] END
$$;

-- What the caller is called for and no step leads on from: a whistle to answer, to report in at, to leave; something urgent to have heard
-- of; what a grade asks of the street.
CREATE OR REPLACE FUNCTION called_for() RETURNS TABLE (incident uuid, actions text[])
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = jingwei, public, pg_temp SET jit = off AS $$
    WITH me AS MATERIALIZED (
        SELECT caller_right() AS held, (caller_appointment()).role AS role
    ), told AS (
        SELECT w.incident, unnest(CASE
            WHEN w.released_at IS NULL THEN array_remove(ARRAY[CASE WHEN c.answered_at IS NULL THEN 'respond' END, CASE WHEN c.arrived_at IS NULL THEN 'report_in' END], NULL)
            ELSE ARRAY['leave'] END) AS action
        FROM me JOIN whistle_calls AS c ON me.held = 'organisation' AND c.organisation = (SELECT caller_organisation()) JOIN whistles AS w ON w.id = c.whistle
        WHERE w.released_at IS NULL OR (c.arrived_at IS NOT NULL AND c.left_at IS NULL)
        UNION
        SELECT d.incident, 'acknowledge' FROM me JOIN duty_calls AS d ON me.role = ANY (duty_roles(d.level)) AND d.acknowledged_at IS NULL
        WHERE me.held IN ('area', 'leader') AND caller_holds(d.area)
        UNION
        SELECT i.id, g.action FROM me JOIN incident_moves AS m ON m.role = me.role JOIN incident_grades AS g ON g.action = m.action
        JOIN incidents AS i ON i.grade = g.grade AND i.state = m.source
        JOIN unnest(string_to_array(current_setting('jingwei.scopes', true), ',')) AS held (lo) ON i.scope COLLATE "C" >= held.lo AND i.scope COLLATE "C" < held.lo || '~'
        WHERE me.held = 'leader' AND i.retired_at IS NULL AND i.state NOT IN ('closed', 'feedback', 'rejected', 'cancelled', 'merged')
          AND NOT EXISTS (SELECT FROM incident_log AS l WHERE l.incident = i.id AND l.action = g.action)
    )
    SELECT t.incident, array_agg(DISTINCT t.action) FROM told AS t JOIN incidents AS i ON i.id = t.incident
    WHERE i.retired_at IS NULL AND (i.state NOT IN ('closed', 'feedback', 'rejected', 'cancelled', 'merged') OR t.action = 'leave') GROUP BY t.incident
$$;

-- What waits for the caller: cases from where they may take a step that leads on, the most pressing first. By the stretches of the
-- caller's own areas, so that the index of what is open is used; what was closed elsewhere waits for nobody's answer.
CREATE OR REPLACE FUNCTION inbox_told(most integer)
RETURNS TABLE (id uuid, title text, number text, matter text, state text, grade text, urgent boolean, supervised boolean, due_at timestamptz,
               reported_at timestamptz, steps integer, scope text, actions text[])
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = jingwei, public, pg_temp SET jit = off AS $$
    WITH me AS MATERIALIZED (
        SELECT caller_right() AS held, (caller_appointment()).role AS role
    ), onward AS MATERIALIZED (
        SELECT m.role, m.source, array_agg(DISTINCT m.action) AS actions FROM incident_moves AS m, me
        WHERE m.target <> m.source
          AND m.action NOT IN ('merge', 'unmerge', 'cancel', 'reject', 'reopen', 'object', 'force', 'suspend', 'ask_verification')
          -- Whether a case is theirs to act on is not asked for those at the desk, who lead nothing.
          AND (m.role = me.role OR (m.role = 'lead' AND (me.held IN ('leader', 'organisation') OR me.role IN ('grid_worker', 'grid_leader'))))
        GROUP BY m.role, m.source
    ), granted AS MATERIALIZED (
        SELECT m.source, m.action, CASE m.action WHEN 'extend' THEN 'ask_extension' WHEN 'suspend' THEN 'ask_suspension'
            WHEN 'exempt' THEN 'appeal' ELSE 'ask_force' END AS asked
        FROM incident_moves AS m, me WHERE m.role = me.role AND m.action IN ('extend', 'suspend', 'exempt', 'force')
    ), awaited AS MATERIALIZED (
        SELECT w.incident, w.actions FROM called_for() AS w
    ), near AS (
        SELECT i.id FROM unnest(string_to_array(current_setting('jingwei.scopes', true), ',')) AS held (lo)
        JOIN incidents AS i ON i.scope COLLATE "C" >= held.lo AND i.scope COLLATE "C" < held.lo || '~'
        WHERE i.retired_at IS NULL AND i.state NOT IN ('feedback', 'rejected', 'cancelled', 'merged') AND NOT (i.state = 'closed' AND i.steps IS NULL)
          AND (caller_right() IN ('area', 'leader')
            OR (caller_right() = 'organisation' AND i.matter = ANY (string_to_array(current_setting('jingwei.categories', true), ','))))
        UNION
        SELECT i.id FROM incidents AS i
        WHERE caller_right() = 'organisation' AND i.lead = caller_organisation() AND i.retired_at IS NULL
          AND i.state NOT IN ('feedback', 'rejected', 'cancelled', 'merged') AND NOT (i.state = 'closed' AND i.steps IS NULL)
        UNION
        SELECT w.incident FROM awaited AS w
    )
    SELECT i.id, i.title, i.number, i.matter, i.state, i.grade, i.urgent, i.supervised, least(i.due_at, i.promised_at), i.reported_at, i.steps, i.scope,
        ARRAY(SELECT DISTINCT a FROM unnest(coalesce(lead.actions, '{}') || coalesce(own.actions, '{}') || coalesce(asked.actions, '{}')
            || coalesce(awaited.actions, '{}')) AS a ORDER BY a)
    FROM near JOIN incidents AS i ON i.id = near.id CROSS JOIN me
    LEFT JOIN onward AS own ON own.role <> 'lead' AND own.source = i.state
    -- A leader may act for all below, and is waited for where the area that leads is their own.
    LEFT JOIN onward AS lead ON lead.role = 'lead' AND lead.source = i.state AND incident_led(i) AND (me.held <> 'leader' OR i.lead IS NOT NULL
        OR coalesce(i.lead_area, i.scope) = ANY (string_to_array(current_setting('jingwei.scopes', true), ',')))
    LEFT JOIN awaited ON awaited.incident = i.id
    -- What somebody has asked for last waits for whoever can grant it.
    LEFT JOIN LATERAL (
        SELECT array_agg(g.action) AS actions FROM incident_log AS l JOIN granted AS g ON g.asked = l.action AND g.source = i.state
        WHERE l.incident = i.id AND l.number = i.steps AND l.actor <> acting()) AS asked ON true
    WHERE own.role IS NOT NULL OR lead.role IS NOT NULL OR asked.actions IS NOT NULL OR awaited.incident IS NOT NULL
    ORDER BY i.urgent DESC, i.supervised DESC, least(i.due_at, i.promised_at) NULLS LAST, i.id LIMIT least(most, 500)
$$;
