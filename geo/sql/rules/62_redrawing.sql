-- Redrawing: versions of areas that take over from others at a local midnight, and what follows from that.

-- Midnight of a day where this instance is.
CREATE OR REPLACE FUNCTION local_midnight(day date) RETURNS timestamptz
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
    SELECT day::timestamp AT TIME ZONE (SELECT time_zone FROM instance)
$$;

-- Who answers now for a path that may be no more: its successors' common ground, else the smallest area above it.
CREATE OR REPLACE FUNCTION path_now(gone text) RETURNS text
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
    WITH RECURSIVE line AS (
        SELECT gone COLLATE "C" AS path, EXISTS (SELECT FROM areas WHERE scope = gone AND in_force(retired_at, valid_from, valid_to, now())) AS lives
        UNION
        SELECT s.new_path, EXISTS (SELECT FROM areas WHERE scope = s.new_path AND in_force(retired_at, valid_from, valid_to, now()))
        FROM line JOIN successions AS s ON s.old_path = line.path AND s.at <= now() WHERE NOT line.lives
    ), heirs AS (
        SELECT path FROM line WHERE lives
    )
    SELECT coalesce(
        (SELECT left(min(path), w) FROM heirs, unnest(ARRAY[2, 4, 6, 9, 12, 15, 18]) AS w
         GROUP BY w HAVING min(length(path)) >= w AND count(DISTINCT left(path, w)) = 1 ORDER BY w DESC LIMIT 1),
        (SELECT path FROM areas WHERE gone ^@ path AND path <> gone AND in_force(retired_at, valid_from, valid_to, now())
         ORDER BY length(path) DESC LIMIT 1),
        instance_prefix())
$$;

-- The path that a record means which only states its area: the area of that name, else who came after the last one of it.
CREATE OR REPLACE FUNCTION stated_now(stated text) RETURNS text
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
    SELECT coalesce(
        (SELECT path FROM areas_named(stated, now()) ORDER BY length(path) DESC, path LIMIT 1),
        (SELECT path_now(path) FROM areas
         WHERE (code = stated OR path = stated OR name = stated OR name IN (stated || '社区', stated || '街道', stated || '村'))
           AND theme = 'governance' AND retired_at IS NULL AND valid_to <= now()
         ORDER BY valid_to DESC, length(path) DESC, path LIMIT 1),
        instance_prefix())
$$;

-- After areas came to an end: records without a place of their own that answered to them answer to who came after, and
-- posts of an area that goes on unchanged under another path go on with it. Posts of areas that were cut up or joined
-- stay where they were, and are told as astray: who is to hold them now is for people to say.
CREATE OR REPLACE FUNCTION passed_on() RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
DECLARE
    noun regclass;
    ended text[] := ARRAY(
        SELECT DISTINCT path FROM areas AS a WHERE NOT EXISTS (
            SELECT FROM areas AS still WHERE still.scope = a.path AND in_force(still.retired_at, still.valid_from, still.valid_to, now())));
BEGIN
    FOR noun IN SELECT attrelid::regclass FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid
                WHERE relnamespace = 'jingwei'::regnamespace AND relkind = 'r' AND attname = 'nearest_area' LOOP
        EXECUTE format('UPDATE %s SET stated_area = stated_area
                        WHERE placing_reason = ''imprecise'' AND scope = ANY ($1) AND retired_at IS NULL', noun) USING ended;
    END LOOP;
    UPDATE posts SET area = s.new_path FROM successions AS s
    WHERE posts.area = s.old_path AND s.at <= now() AND s.old_path = ANY (ended) AND posts.retired_at IS NULL
      AND (posts.ends_at IS NULL OR posts.ends_at > now())
      AND (SELECT count(*) FROM successions AS o WHERE o.old_path = s.old_path) = 1
      AND (SELECT count(*) FROM successions AS o WHERE o.new_path = s.new_path) = 1;
END
$$;

-- Close the versions of some paths at a moment and open others from it on: one statement, so that nothing is ever placed
-- between the two. `opening` is an array of {like: the path whose version is carried on, path: given for a new version of
-- the same area, under: the number in this array of the area it lies in, or parent: its path, name, code, geom: WKB in
-- hex, of: the paths it succeeds}; what is not said is as in `like`. Returns {batch, paths}.
CREATE OR REPLACE FUNCTION areas_redrawn(closing text[], opening jsonb, at timestamptz) RETURNS jsonb
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
DECLARE
    done uuid := uuid_v7();
    part jsonb;
    given text;
    drawn jsonb := '[]';
    closed jsonb;
BEGIN
    IF EXISTS (
        SELECT FROM (SELECT unnest(closing) UNION ALL SELECT p ->> 'parent' FROM jsonb_array_elements(opening) AS p) AS t (path)
        WHERE path IS NOT NULL AND NOT caller_holds(path))
    THEN
        RAISE insufficient_privilege USING MESSAGE = 'an area outside the scope of the caller';
    END IF;
    SELECT jsonb_agg(jsonb_build_object('id', id, 'valid_to', valid_to)) INTO closed FROM (
        SELECT id, valid_to FROM areas
        WHERE path = ANY (closing) AND in_force(retired_at, valid_from, valid_to, at) AND valid_from < at FOR UPDATE) AS held;
    IF jsonb_array_length(coalesce(closed, '[]')) <> cardinality(closing) THEN
        RAISE serialization_failure USING MESSAGE = 'an area was changed in the meantime';
    END IF;
    PERFORM pg_advisory_xact_lock(hashtext('area_paths'));
    FOR part IN SELECT * FROM jsonb_array_elements(opening) LOOP
        given := part ->> 'path';
        IF given IS NULL THEN
            given := path_under(
                coalesce(drawn -> (part ->> 'under')::integer ->> 'path', part ->> 'parent'),
                (SELECT level FROM area_paths WHERE path = part ->> 'like'), part ->> 'code');
            INSERT INTO area_paths (path, level) SELECT given, level FROM area_paths WHERE path = part ->> 'like';
        END IF;
        drawn := drawn || jsonb_build_array(part || jsonb_build_object('path', given));
    END LOOP;
    INSERT INTO batches (id, noun, source, actor, rows, report)
    VALUES (done, 'areas', 'redraw', acting(), jsonb_array_length(drawn), jsonb_build_object('closed', closed, 'at', at));
    -- Before the areas, whose codes are held against it: the code of an area that goes on under another path goes with it.
    INSERT INTO successions (old_path, new_path, at, share)
    SELECT gone, path, $3, 1 FROM (
        SELECT gone, w.path, count(*) OVER (PARTITION BY gone) AS heirs
        FROM jsonb_to_recordset(drawn) AS w (path text, "of" text[]), unnest(w."of") AS gone) AS told
    WHERE heirs = 1;

    -- Before the areas, so that houses come from one list to the next in one step.
    INSERT INTO area_members (area, building, unit, floor_from, floor_to)
    SELECT w.path, m.building, m.unit, m.floor_from, m.floor_to
    FROM jsonb_to_recordset(drawn) AS w ("like" text, path text, geom text) JOIN area_members AS m ON m.area = w."like"
    WHERE w.path <> w."like" AND w.geom IS NULL;

    WITH wanted AS (
        SELECT * FROM jsonb_to_recordset(drawn) AS w ("like" text, path text, name text, code text, geom text)
    ), past AS (
        SELECT * FROM areas WHERE id IN (SELECT (c ->> 'id')::uuid FROM jsonb_array_elements(closed) AS c)
    ), ended AS (
        UPDATE areas SET valid_to = at FROM past WHERE areas.id = past.id RETURNING areas.id
    )
    INSERT INTO areas (path, name, code, level, kind, theme, parent, members, derived, management_mode, lead_body,
                       valid_from, valid_to, extras, source, batch, geom)
    SELECT w.path, coalesce(w.name, past.name), w.code, past.level, past.kind, past.theme, NULL, past.members,
        past.derived AND w.geom IS NULL, past.management_mode, past.lead_body, at, past.valid_to, past.extras, 'redraw', done,
        coalesce(ST_Multi(ST_SetSRID(ST_GeomFromWKB(decode(w.geom, 'hex')), 4326)), past.geom)
    FROM wanted AS w JOIN past ON past.path = w."like", (SELECT count(*) FROM ended) AS first;

    UPDATE batches SET report = report || jsonb_build_object('opened', (
        SELECT jsonb_agg(jsonb_build_object('id', id, 'valid_to', valid_to)) FROM areas WHERE batch = done)) WHERE id = done;

    PERFORM succeeded(drawn, at);
    PERFORM passed_on();
    RETURN jsonb_build_object('batch', done, 'paths', (SELECT jsonb_agg(d ->> 'path' ORDER BY n)
        FROM jsonb_array_elements(drawn) WITH ORDINALITY AS o (d, n)));
END
$$;

-- Who came after an area that was cut up, with the share of the houses: land is not where the people are. Where no houses
-- stand, of the ground. What has no share is no successor.
CREATE OR REPLACE FUNCTION succeeded(drawn jsonb, at timestamptz) RETURNS void
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
    WITH heirs AS (
        SELECT gone AS old_path, w.path AS new_path, old.geom AS old_geom, new.geom AS new_geom,
            count(*) OVER (PARTITION BY gone) AS heirs
        FROM jsonb_to_recordset(drawn) AS w (path text, "of" text[]) CROSS JOIN unnest(w."of") AS gone
        JOIN areas AS old ON old.path = gone AND old.valid_to = $2 AND old.retired_at IS NULL
        JOIN areas AS new ON new.path = w.path AND new.valid_from = $2 AND new.retired_at IS NULL
    ), houses AS (
        SELECT h.old_path, b.id, min(h.new_path COLLATE "C") AS new_path
        FROM heirs AS h JOIN buildings AS b ON b.geom && h.old_geom AND b.geom && h.new_geom
        WHERE h.heirs > 1 AND b.retired_at IS NULL AND ST_Covers(h.old_geom, ST_PointOnSurface(b.geom))
          AND ST_Covers(h.new_geom, ST_PointOnSurface(b.geom))
        GROUP BY h.old_path, b.id
    ), weighed AS (
        SELECT h.old_path, h.new_path, CASE WHEN EXISTS (SELECT FROM houses AS o WHERE o.old_path = h.old_path)
            THEN (SELECT count(*) FROM houses AS o WHERE (o.old_path, o.new_path) = (h.old_path, h.new_path))
            ELSE ST_Area(ST_Intersection(h.old_geom, h.new_geom)) END AS weight
        FROM heirs AS h WHERE h.heirs > 1
    )
    INSERT INTO successions (old_path, new_path, at, share)
    SELECT old_path, new_path, $2, share
    FROM (SELECT *, weight / nullif(sum(weight) OVER (PARTITION BY old_path), 0) AS share FROM weighed) AS shared
    WHERE share > 0
$$;

-- Take a redrawing back: what it opened is retired, what it closed goes on as before. Refused once somebody has built on it.
CREATE OR REPLACE FUNCTION redraw_undone(taken uuid) RETURNS integer
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
DECLARE
    was jsonb;
    made jsonb;
    began timestamptz;
    touched integer;
BEGIN
    SELECT report -> 'closed', report -> 'opened', (report ->> 'at')::timestamptz INTO was, made, began
    FROM batches WHERE id = taken AND undone_at IS NULL AND report ? 'closed' FOR UPDATE;
    IF NOT FOUND THEN
        RAISE no_data_found USING MESSAGE = 'no such redrawing, or undone already';
    END IF;
    IF EXISTS (SELECT FROM changes WHERE noun = 'areas' AND operation IN ('change', 'retire')
               AND feature IN (SELECT id FROM areas WHERE batch = taken) AND patch - ARRAY['version', 'valid_to'] <> '{}')
       OR EXISTS (SELECT FROM areas, jsonb_array_elements(made) AS m
                  WHERE id = (m ->> 'id')::uuid AND valid_to IS DISTINCT FROM (m ->> 'valid_to')::timestamptz)
       OR EXISTS (SELECT FROM areas, jsonb_array_elements(was) AS c WHERE id = (c ->> 'id')::uuid AND valid_to IS DISTINCT FROM began)
    THEN
        RAISE check_violation USING MESSAGE = 'its areas were changed since', CONSTRAINT = 'batches_undo_check', TABLE = 'batches';
    END IF;
    UPDATE posts SET area = s.old_path FROM successions AS s
    WHERE posts.area = s.new_path AND s.at = began AND s.new_path IN (SELECT path FROM areas WHERE batch = taken)
      AND (SELECT count(*) FROM successions AS o WHERE o.new_path = s.new_path) = 1
      AND (SELECT count(*) FROM successions AS o WHERE o.old_path = s.old_path) = 1;
    DELETE FROM successions WHERE at = began AND new_path IN (SELECT path FROM areas WHERE batch = taken);
    -- Retired first: the old and the new version of a path may not hold at once.
    WITH gone AS (
        UPDATE areas SET retired_at = now() WHERE batch = taken RETURNING id
    )
    UPDATE areas SET valid_to = (c ->> 'valid_to')::timestamptz
    FROM jsonb_array_elements(was) AS c, (SELECT count(*) FROM gone) AS first WHERE id = (c ->> 'id')::uuid;
    GET DIAGNOSTICS touched = ROW_COUNT;
    UPDATE batches SET undone_at = now() WHERE id = taken;
    INSERT INTO changes (actor, noun, operation, batch, patch)
    VALUES (acting(), 'areas', 'undo', taken, jsonb_build_object('rows', touched));
    PERFORM passed_on();
    RETURN touched;
END
$$;

-- Where the points of a noun within reach are at a moment, at one level: ids and paths, for the difference that a redrawing
-- makes, to who answers for them. `earlier` are those whose own time is before the moment: they keep the area of their time. Houses bring their
-- households and residents along.
CREATE OR REPLACE FUNCTION places_in(noun regclass, of_moment text, wanted text, reach geometry, moment timestamptz)
RETURNS TABLE (id uuid, path text, earlier boolean, households integer, residents integer)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
BEGIN
    RETURN QUERY EXECUTE format($sql$
        SELECT s.id, (SELECT a.path FROM areas_at(ST_PointOnSurface(s.geom), $2) AS a WHERE a.level = $3), %s, %s
        FROM %s AS s WHERE s.retired_at IS NULL AND s.precision <> 'region' AND s.geom && $1 AND caller_holds(s.scope)
    $sql$, CASE WHEN of_moment = '' THEN 'false' ELSE format('coalesce(s.%I, now()) < $2', of_moment) END,
        CASE WHEN noun = 'buildings'::regclass THEN 's.households, s.residents' ELSE 'NULL::integer, NULL::integer' END, noun)
    USING reach, moment, wanted;
END
$$;
