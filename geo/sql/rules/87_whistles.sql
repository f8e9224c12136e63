-- The street's side of a case: who is called to its place (吹哨报到), into which parts it is split, what may be given to grids, and what
-- a ruling makes of the responsibility list. What is done is a step of the case like any other; here is what a step carries.

-- A place told in a step.
CREATE OR REPLACE FUNCTION place_given(given jsonb) RETURNS geometry
LANGUAGE sql IMMUTABLE SET search_path = jingwei, public, pg_temp AS $$
    SELECT CASE WHEN given -> 'place' IS NOT NULL
        THEN ST_SetSRID(ST_MakePoint((given -> 'place' ->> 0)::double precision, (given -> 'place' ->> 1)::double precision), 4326) END
$$;

-- Departments are called to a place, or further ones to where some are called already; each has its own clock from then on.
CREATE OR REPLACE FUNCTION whistle_blown(thing incidents, given jsonb, taken timestamptz) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
DECLARE
    standing uuid := (SELECT id FROM whistles WHERE incident = thing.id AND released_at IS NULL);
    there constant geometry := coalesce(place_given(given), thing.geom);
BEGIN
    IF standing IS NULL THEN
        IF there IS NULL THEN
            PERFORM broken('whistles_place_check');
        END IF;
        INSERT INTO whistles (incident, place, address, blown_at) VALUES (thing.id, there, coalesce(given ->> 'address', thing.address, ''), taken)
        RETURNING id INTO standing;
    END IF;
    INSERT INTO whistle_calls (whistle, organisation, called_at, due_at, metres)
    SELECT standing, o.id, taken, taken + make_interval(mins => coalesce((given ->> 'minutes')::integer, 30)), coalesce((given ->> 'metres')::integer, 200)
    FROM jsonb_array_elements_text(coalesce(given -> 'bodies', '[]')) AS b (id) JOIN organisations AS o ON o.id = b.id::uuid AND o.retired_at IS NULL
    ON CONFLICT (whistle, organisation) DO NOTHING;
    IF NOT FOUND THEN
        PERFORM broken('whistles_bodies_check');
    END IF;
END
$$;

-- A body that was called answers, reports in where it is, leaves. How near is near enough and that nobody goes before they may are
-- rules of the row.
CREATE OR REPLACE FUNCTION call_followed(of_incident uuid, wanted text, given jsonb, taken timestamptz) RETURNS jsonb
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
DECLARE
    mine whistle_calls;
    here constant geometry := place_given(given);
    there geometry;
BEGIN
    SELECT c.* INTO mine FROM whistle_calls AS c JOIN whistles AS w ON w.id = c.whistle
    WHERE w.incident = of_incident AND c.organisation = caller_organisation() AND c.left_at IS NULL
      AND CASE wanted WHEN 'respond' THEN c.answered_at IS NULL WHEN 'report_in' THEN c.arrived_at IS NULL ELSE true END
    ORDER BY w.blown_at DESC LIMIT 1 FOR UPDATE OF c;
    IF NOT FOUND THEN
        PERFORM broken('whistle_calls_called_check');
    END IF;
    IF wanted = 'respond' THEN
        UPDATE whistle_calls SET answered_at = taken WHERE id = mine.id;
    ELSIF wanted = 'report_in' THEN
        IF here IS NULL THEN
            PERFORM broken('whistle_calls_place_check');
        END IF;
        SELECT place INTO there FROM whistles WHERE id = mine.whistle;
        IF NOT ST_DWithin(here::geography, there::geography, mine.metres) THEN
            PERFORM broken('whistle_calls_near_check');
        END IF;
        UPDATE whistle_calls SET arrived_at = taken, answered_at = coalesce(answered_at, taken), point = here,
            away_m = floor(ST_Distance(here::geography, there::geography))
        WHERE id = mine.id;
    ELSE
        UPDATE whistle_calls SET left_at = taken WHERE id = mine.id;
    END IF;
    RETURN jsonb_build_object('body', mine.organisation) || CASE wanted
        WHEN 'report_in' THEN jsonb_build_object('minutes', ceil(extract(epoch FROM taken - mine.called_at) / 60), 'in_time', taken <= mine.due_at)
        ELSE '{}' END;
END
$$;

-- Whoever was called may go.
CREATE OR REPLACE FUNCTION whistle_over(of_incident uuid, taken timestamptz) RETURNS boolean
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
BEGIN
    UPDATE whistles SET released_at = taken WHERE incident = of_incident AND released_at IS NULL;
    RETURN FOUND;
END
$$;

-- Who was called to the place of a case, and how far each has got, for whoever works with it. `mine`: the caller's own body.
CREATE OR REPLACE FUNCTION whistle_told(of_incident uuid)
RETURNS TABLE (whistle uuid, lon double precision, lat double precision, address text, blown_at timestamptz, released_at timestamptz,
               organisation uuid, name text, called_at timestamptz, due_at timestamptz, metres integer, answered_at timestamptz,
               arrived_at timestamptz, away_m integer, left_at timestamptz, mine boolean)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
    SELECT w.id, ST_X(w.place), ST_Y(w.place), w.address, w.blown_at, w.released_at, c.organisation, o.name, c.called_at, c.due_at, c.metres,
        c.answered_at, c.arrived_at, c.away_m, c.left_at, coalesce(c.organisation = caller_organisation(), false)
    FROM incidents AS i JOIN whistles AS w ON w.incident = i.id JOIN whistle_calls AS c ON c.whistle = w.id JOIN organisations AS o ON o.id = c.organisation
    WHERE i.id = of_incident AND i.retired_at IS NULL AND incident_in_hand(i)
    ORDER BY w.blown_at DESC, o.name, c.organisation
$$;

-- How departments came when they were called, within a path and a period that is half-open: of all calls that were due, how many
-- answered, came and came in time, and after how many minutes on average. Exercises are no calls.
CREATE OR REPLACE FUNCTION whistle_arrivals(of_path text, since timestamptz, until timestamptz)
RETURNS TABLE (organisation uuid, name text, called bigint, answered bigint, arrived bigint, in_time bigint, minutes double precision, longest double precision)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
    SELECT o.id, o.name, count(*), count(c.answered_at), count(c.arrived_at), count(*) FILTER (WHERE c.arrived_at <= c.due_at),
        avg(extract(epoch FROM c.arrived_at - c.called_at) / 60)::double precision, max(extract(epoch FROM c.arrived_at - c.called_at) / 60)::double precision
    FROM whistle_calls AS c JOIN whistles AS w ON w.id = c.whistle JOIN incidents AS i ON i.id = w.incident JOIN organisations AS o ON o.id = c.organisation
    WHERE c.called_at >= since AND c.called_at < until AND NOT i.exercise AND i.retired_at IS NULL
      AND i.scope COLLATE "C" >= of_path AND i.scope COLLATE "C" < of_path || '~' AND caller_right() IN ('owner', 'leader') AND caller_holds(of_path)
    GROUP BY o.id, o.name ORDER BY o.name, o.id
$$;

-- 网格事项准入: where there is a list of what may be given to grids, nothing else may.
CREATE OR REPLACE FUNCTION admission_asked(of_matter text, to_area text, taken timestamptz) RETURNS void
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
BEGIN
    IF length(to_area) >= path_width('grid') AND (
        SELECT count(*) > 0 AND NOT coalesce(bool_or(d.matter IN (of_matter, (SELECT m.parent FROM matters AS m WHERE m.code = of_matter))), false)
        FROM duty_items AS d
        WHERE d.part = 'admit' AND d.retired_at IS NULL AND to_area COLLATE "C" >= d.area AND to_area COLLATE "C" < d.area || '~'
          AND d.starts_at <= taken AND (d.ends_at IS NULL OR d.ends_at > taken)
    ) THEN
        PERFORM broken('incidents_admission_check');
    END IF;
END
$$;

-- A ruling becomes a line of the responsibility list from then on, in place of the line that led there.
CREATE OR REPLACE FUNCTION ruling_listed(thing incidents, taken timestamptz, opinion text) RETURNS uuid
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
DECLARE
    there constant text := left(coalesce(thing.lead_area, left(thing.scope, path_width('street'))), path_width('grid'));
    made uuid;
BEGIN
    IF thing.matter IS NULL THEN
        PERFORM broken('duty_items_matter_check');
    END IF;
    UPDATE duty_items SET ends_at = taken
    WHERE matter = thing.matter AND area = there AND part = 'lead' AND by <> 'owner' AND retired_at IS NULL
      AND starts_at < taken AND (ends_at IS NULL OR ends_at > taken);
    INSERT INTO duty_items (matter, area, part, by, organisation, duties, legal_basis, starts_at)
    VALUES (thing.matter, there, 'lead', CASE WHEN thing.lead IS NOT NULL THEN 'organisation' ELSE area_level(there) END, thing.lead, left(opinion, 1000),
            concat('街道裁定 ', thing.number), taken)
    RETURNING id INTO made;
    RETURN made;
END
$$;

-- The level that a path is of, by its length.
CREATE OR REPLACE FUNCTION area_level(path text) RETURNS text
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE SET search_path = jingwei, public, pg_temp AS $$
    SELECT l FROM unnest(ARRAY['grid', 'community', 'street', 'district', 'city', 'province']) AS l WHERE length(path) >= path_width(l) ORDER BY path_width(l) DESC LIMIT 1
$$;

-- A part of a case, which is a case of its own with a lead of its own, and the same place. Who reported the whole is not told with it.
CREATE OR REPLACE FUNCTION part_given(thing incidents, given jsonb, taken timestamptz) RETURNS uuid
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
DECLARE
    body constant uuid := (given ->> 'lead')::uuid;
    there constant text := given ->> 'lead_area';
    made incidents;
BEGIN
    IF num_nonnulls(body, there) <> 1 THEN
        PERFORM broken('incidents_part_check');
    ELSIF there IS NOT NULL AND NOT EXISTS (SELECT FROM areas AS a WHERE a.path = there AND area_holds(a, taken)) THEN
        PERFORM broken('incidents_lead_area_check');
    END IF;
    PERFORM admission_asked(thing.matter, there, taken);
    INSERT INTO incidents (title, number, matter, channel, sub_source, state, grade, address, description, geom, precision, stated_area, urgent, exercise,
                           against, parent, lead, lead_area, occurred_at, reported_at, source)
    VALUES (thing.title, left(thing.number, 36) || '-' || (SELECT count(*) + 1 FROM incidents WHERE parent = thing.id), thing.matter, thing.channel,
            thing.sub_source, 'dispatched', 'general', thing.address, concat_ws(E'\n', given ->> 'opinion', thing.description), thing.geom, thing.precision,
            thing.stated_area, thing.urgent, thing.exercise, thing.against, thing.id, body, there, thing.occurred_at, taken, 'part')
    RETURNING * INTO made;
    -- Of what has no place, the area that is to act is the smallest that is sure.
    UPDATE incidents SET scope = there WHERE id = made.id AND there COLLATE "C" >= made.scope AND there COLLATE "C" < made.scope || '~' AND there <> made.scope;
    RETURN made.id;
END
$$;

-- The parts of a case, and what it is a part of, for whoever works with it: how each stands and who leads.
CREATE OR REPLACE FUNCTION parts_told(of_incident uuid)
RETURNS TABLE (id uuid, number text, title text, state text, lead text, due_at timestamptz, whole boolean)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
    SELECT p.id, p.number, p.title, p.state, coalesce(organisation_title(p.lead), area_title(p.lead_area), p.lead_area), p.due_at, p.id = i.parent
    FROM incidents AS i JOIN incidents AS p ON (p.parent = i.id OR p.id = i.parent) AND p.retired_at IS NULL
    WHERE i.id = of_incident AND i.retired_at IS NULL AND incident_in_hand(i) ORDER BY p.id = i.parent DESC, p.id
$$;

-- 布置: a task from above, which the area that gives it leads, and a part of it for each of some areas below.
CREATE OR REPLACE FUNCTION task_assigned(of_path text, title text, of_matter text, about text, areas text[], moment timestamptz) RETURNS uuid
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
DECLARE
    taken constant timestamptz := moment_told(moment);
    thing incidents;
    area text;
BEGIN
    IF caller_right() NOT IN ('owner', 'leader') OR NOT caller_holds(of_path) THEN
        PERFORM refuse('no right to give tasks there');
    END IF;
    INSERT INTO incidents (title, number, matter, channel, state, description, precision, stated_area, lead_area, reported_at, occurred_at, source)
    VALUES (title, 'RW' || upper(left(replace(uuid_v7()::text, '-', ''), 16)), of_matter, 'superior', 'dispatched', about, 'region', NULL, of_path, taken, taken, 'task')
    RETURNING * INTO thing;
    UPDATE incidents SET scope = of_path WHERE id = thing.id RETURNING * INTO thing;
    FOREACH area IN ARRAY areas LOOP
        PERFORM incident_stepped(thing, 'split', jsonb_build_object('lead_area', area, 'opinion', about), NULL, NULL,
                                 array_append(incident_capacities(thing), 'dispatcher'), taken);
        SELECT * INTO thing FROM incidents WHERE id = thing.id;
    END LOOP;
    RETURN thing.id;
END
$$;

-- How long a task took at each level, from the logs of its parts: until it was taken over (签收), split on (分解), done (落实), in minutes
-- from when it was given out (布置) to that level. Medians and nine tenths; none of what has not happened.
CREATE OR REPLACE FUNCTION task_delays_told(of_incident uuid)
RETURNS TABLE (level text, parts bigint, taken_over bigint, done bigint, receipt_p50 double precision, receipt_p90 double precision,
               split_p50 double precision, split_p90 double precision, done_p50 double precision, done_p90 double precision)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
    WITH RECURSIVE task AS (
        SELECT i.id, i.lead_area, 0 AS deep FROM incidents AS i WHERE i.id = of_incident AND i.retired_at IS NULL AND incident_in_hand(i)
        UNION ALL
        SELECT p.id, p.lead_area, t.deep + 1 FROM task AS t JOIN incidents AS p ON p.parent = t.id AND p.retired_at IS NULL WHERE t.deep < 6
    ), timed AS (
        SELECT coalesce(area_level(t.lead_area), 'body') AS level, t.id,
            extract(epoch FROM min(l.at) FILTER (WHERE l.action = 'start') - given.at) / 60 AS receipt,
            extract(epoch FROM min(l.at) FILTER (WHERE l.action = 'split') - given.at) / 60 AS split,
            extract(epoch FROM min(l.at) FILTER (WHERE l.action = 'handle') - given.at) / 60 AS done
        FROM task AS t JOIN incident_log AS given ON given.incident = t.id AND given.number = 1 JOIN incident_log AS l ON l.incident = t.id
        GROUP BY t.id, t.lead_area, given.at
    )
    SELECT level, count(*), count(receipt), count(done),
        percentile_cont(0.5) WITHIN GROUP (ORDER BY receipt), percentile_cont(0.9) WITHIN GROUP (ORDER BY receipt),
        percentile_cont(0.5) WITHIN GROUP (ORDER BY split), percentile_cont(0.9) WITHIN GROUP (ORDER BY split),
        percentile_cont(0.5) WITHIN GROUP (ORDER BY done), percentile_cont(0.9) WITHIN GROUP (ORDER BY done)
    FROM timed GROUP BY level ORDER BY array_position(ARRAY['city', 'district', 'street', 'community', 'grid', 'body'], level)
$$;

-- Open cases that nobody is named for by the list, and that nobody was given.
CREATE OR REPLACE FUNCTION duty_gaps_told(most integer) RETURNS TABLE (id uuid)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = jingwei, public, pg_temp SET jit = off AS $$
    SELECT i.id FROM unnest(string_to_array(current_setting('jingwei.scopes', true), ',')) AS held (lo)
    JOIN incidents AS i ON i.scope COLLATE "C" >= held.lo AND i.scope COLLATE "C" < held.lo || '~'
    WHERE caller_right() IN ('area', 'leader') AND i.retired_at IS NULL AND i.state IN ('accepted', 'filed', 'returned')
      AND NOT EXISTS (SELECT FROM incident_routes(i) AS r WHERE r.part = 'lead')
    ORDER BY i.reported_at, i.id LIMIT least(most, 500)
$$;

-- Matters that no line leads in an area, and how many cases there were of each in the last year.
CREATE OR REPLACE FUNCTION matter_gaps_told(of_path text) RETURNS TABLE (matter text, title text, title_en text, cases bigint)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
    SELECT m.code, m.title, m.title_en, coalesce(n.cases, 0)
    FROM matters AS m LEFT JOIN (
        SELECT i.matter, count(*) AS cases FROM incidents AS i
        WHERE i.scope COLLATE "C" >= of_path AND i.scope COLLATE "C" < of_path || '~' AND i.retired_at IS NULL AND i.reported_at > now() - interval '366 days'
        GROUP BY i.matter) AS n ON n.matter = m.code
    WHERE caller_right() IN ('owner', 'area', 'leader') AND caller_holds(of_path) AND m.retired_at IS NULL
      AND NOT EXISTS (SELECT FROM matters AS below WHERE below.parent = m.code)
      AND NOT EXISTS (SELECT FROM duty_items AS d WHERE d.part = 'lead' AND d.retired_at IS NULL AND d.matter IN (m.code, m.parent)
                      AND d.starts_at <= now() AND (d.ends_at IS NULL OR d.ends_at > now()) AND of_path COLLATE "C" >= d.area AND of_path COLLATE "C" < d.area || '~')
    ORDER BY n.cases DESC NULLS LAST, m.code
$$;

-- What the office of a street has before it: cases to rule on, whistles that stand, what is urgent and nobody has heard of, what the
-- grade asks for.
CREATE OR REPLACE FUNCTION hub_waits(most integer) RETURNS TABLE (id uuid, why text, since timestamptz)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = jingwei, public, pg_temp SET jit = off AS $$
    WITH here AS MATERIALIZED (
        SELECT i.id, i.state, i.grade FROM unnest(string_to_array(current_setting('jingwei.scopes', true), ',')) AS held (lo)
        JOIN incidents AS i ON i.scope COLLATE "C" >= held.lo AND i.scope COLLATE "C" < held.lo || '~'
        WHERE caller_right() IN ('area', 'leader') AND i.retired_at IS NULL AND i.state NOT IN ('closed', 'feedback', 'rejected', 'cancelled', 'merged')
    ), told AS (
        SELECT h.id, 'unheard' AS why, min(d.told_at) AS since FROM here AS h JOIN duty_calls AS d ON d.incident = h.id AND d.acknowledged_at IS NULL GROUP BY h.id
        UNION ALL SELECT h.id, 'whistle', w.blown_at FROM here AS h JOIN whistles AS w ON w.incident = h.id AND w.released_at IS NULL
        UNION ALL SELECT h.id, 'dispute', max(l.at) FROM here AS h JOIN incident_log AS l ON l.incident = h.id AND l.action = 'dispute' WHERE h.state = 'disputed' GROUP BY h.id
        UNION ALL SELECT DISTINCT h.id, g.action, NULL::timestamptz FROM here AS h JOIN incident_grades AS g ON g.grade = h.grade
            WHERE NOT EXISTS (SELECT FROM incident_log AS l WHERE l.incident = h.id AND l.action = g.action)
    )
    SELECT t.id, t.why, t.since FROM told AS t
    ORDER BY array_position(ARRAY['unheard', 'whistle', 'dispute', 'report_up', 'convene'], t.why), t.since, t.id LIMIT least(most, 500)
$$;
