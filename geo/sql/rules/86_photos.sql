-- Photos of cases, and what the public sees of reporting: what is near, somebody's own receipt of a case that was there before,
-- and how it goes.

-- Whether a case is nobody's business any more, but for keeping what belongs to it.
CREATE OR REPLACE FUNCTION incident_over(thing incidents) RETURNS boolean
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
    SELECT thing.state = 'closed' OR EXISTS (SELECT FROM incident_states AS s WHERE s.code = thing.state AND s.over)
$$;

-- A photo is kept as long as its case says; one that is open again keeps what it has.
CREATE OR REPLACE FUNCTION photos_outlived() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
BEGIN
    UPDATE incident_photos SET over_at = CASE WHEN incident_over(NEW) THEN coalesce(NEW.closed_at, over_at, now()) END WHERE incident = NEW.id;
    RETURN NULL;
END
$$;
CREATE OR REPLACE TRIGGER y_photos AFTER UPDATE OF state, closed_at ON incidents FOR EACH ROW
    WHEN (OLD.state <> NEW.state OR OLD.closed_at IS DISTINCT FROM NEW.closed_at) EXECUTE FUNCTION photos_outlived();

-- What was released, taken back or given up is told in the trail, by whom.
SET CONSTRAINTS ALL IMMEDIATE;
DROP TRIGGER IF EXISTS photos_trailed ON incident_photos;
CREATE CONSTRAINT TRIGGER photos_trailed AFTER UPDATE OF released_at, retired_at ON incident_photos DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
    WHEN (OLD.released_at IS DISTINCT FROM NEW.released_at OR OLD.retired_at IS DISTINCT FROM NEW.retired_at)
    EXECUTE FUNCTION row_trailed('approve', 'id');

-- Stores what is told of a photo whose file lies there already; the same photo of the same case is one. At most four of a report
-- and forty of a case.
CREATE OR REPLACE FUNCTION photo_stored(
    thing incidents, photo uuid, step integer, of_kind text, sum bytea, name text, sealed bytea, bytes integer, wide integer, high integer, who text
) RETURNS uuid
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
DECLARE
    known uuid;
BEGIN
    -- The lock of the case's row is held: two at once stand in line.
    SELECT p.id INTO known FROM incident_photos AS p WHERE p.incident = thing.id AND p.digest = sum AND p.retired_at IS NULL;
    IF FOUND THEN
        RETURN known;
    END IF;
    IF (SELECT count(*) >= CASE who WHEN '' THEN 4 ELSE 40 END FROM incident_photos AS p
        WHERE p.incident = thing.id AND p.retired_at IS NULL AND (who <> '' OR p.actor = '')) THEN
        PERFORM broken('incident_photos_most_check');
    END IF;
    INSERT INTO incident_photos (id, incident, number, kind, digest, file, file_key_cipher, size, width, height, actor, over_at)
    VALUES (photo, thing.id, step, of_kind, sum, name, sealed, bytes, wide, high, who,
            CASE WHEN incident_over(thing) THEN coalesce(thing.closed_at, now()) END);
    RETURN photo;
END
$$;

-- A photo by whoever has ticket and code, for as long as the case is open.
CREATE OR REPLACE FUNCTION report_photo_kept(
    wanted_ticket text, hashes bytea[], photo uuid, of_kind text, sum bytea, name text, sealed bytea, bytes integer, wide integer, high integer
) RETURNS uuid
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
DECLARE
    thing incidents;
BEGIN
    thing := report_proved(wanted_ticket, hashes);
    IF incident_over(thing) THEN
        PERFORM broken('incident_photos_over_check');
    END IF;
    RETURN photo_stored(thing, photo, NULL, of_kind, sum, name, sealed, bytes, wide, high, '');
END
$$;

-- Whether a ticket and code would be good for a photo, asked before one is taken in.
CREATE OR REPLACE FUNCTION report_held(wanted_ticket text, hashes bytea[]) RETURNS boolean
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
    SELECT EXISTS (SELECT FROM receipts AS r JOIN incidents AS i ON i.id = r.incident
        WHERE r.ticket = wanted_ticket AND r.code_hash = ANY (hashes) AND NOT r.follows AND i.retired_at IS NULL)
$$;

-- A photo by whoever works with the case, of a step of it or of none.
CREATE OR REPLACE FUNCTION incident_photo_kept(
    of_incident uuid, step integer, photo uuid, of_kind text, sum bytea, name text, sealed bytea, bytes integer, wide integer, high integer
) RETURNS uuid
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
DECLARE
    thing incidents;
BEGIN
    SELECT i.* INTO thing FROM incidents AS i WHERE i.id = of_incident AND i.retired_at IS NULL FOR UPDATE;
    IF NOT FOUND OR NOT incident_in_hand(thing) THEN
        RAISE no_data_found USING MESSAGE = 'no such case';
    END IF;
    IF NOT caller_may('write') THEN
        PERFORM refuse('no right to add a photo');
    END IF;
    RETURN photo_stored(thing, photo, step, of_kind, sum, name, sealed, bytes, wide, high, acting());
END
$$;

-- One photo: to whoever works with the case, and once released to everybody. Whoever sent it is not told.
CREATE OR REPLACE FUNCTION photo_told(photo uuid)
RETURNS TABLE (id uuid, incident uuid, released boolean, digest bytea, file text, file_key bytea, size integer)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
    SELECT p.id, p.incident, p.released_at IS NOT NULL, p.digest, p.file, p.file_key_cipher, p.size
    FROM incident_photos AS p JOIN incidents AS i ON i.id = p.incident
    WHERE p.id = photo AND p.retired_at IS NULL AND p.file IS NOT NULL AND i.retired_at IS NULL
      AND (p.released_at IS NOT NULL OR incident_in_hand(i))
$$;

-- The photos of a case, as far as they are the caller's to see.
CREATE OR REPLACE FUNCTION photos_told(of_incident uuid)
RETURNS TABLE (id uuid, number integer, kind text, width integer, height integer, at timestamptz, by_reporter boolean, released_at timestamptz)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
    SELECT p.id, p.number, p.kind, p.width, p.height, p.at, p.actor = '', p.released_at
    FROM incident_photos AS p JOIN incidents AS i ON i.id = p.incident
    WHERE p.incident = of_incident AND p.retired_at IS NULL AND p.file IS NOT NULL AND i.retired_at IS NULL
      AND (p.released_at IS NOT NULL OR incident_in_hand(i))
    ORDER BY p.at, p.id
$$;

-- Releases a photo to everybody, takes that back, or gives the photo up, which destroys it. By those who answer for what is told,
-- not by whoever works in the field.
CREATE OR REPLACE FUNCTION photo_decided(photo uuid, decision text) RETURNS uuid
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
DECLARE
    thing incidents;
BEGIN
    SELECT i.* INTO thing FROM incident_photos AS p JOIN incidents AS i ON i.id = p.incident
    WHERE p.id = photo AND p.retired_at IS NULL AND p.file IS NOT NULL AND i.retired_at IS NULL FOR UPDATE OF p;
    IF NOT FOUND OR NOT incident_in_hand(thing) THEN
        RAISE no_data_found USING MESSAGE = 'no such photo';
    END IF;
    IF NOT caller_may('write') OR (caller_right() <> 'owner' AND (caller_appointment()).role NOT IN ('acceptor', 'dispatcher', 'community_leader', 'street', 'district')) THEN
        PERFORM refuse('no right to decide over a photo');
    END IF;
    IF decision = 'release' THEN
        UPDATE incident_photos SET released_at = now(), released_by = acting() WHERE id = photo AND released_at IS NULL;
    ELSIF decision = 'withhold' THEN
        UPDATE incident_photos SET released_at = NULL, released_by = NULL WHERE id = photo;
    ELSE
        UPDATE incident_photos SET retired_at = now(), released_at = NULL, released_by = NULL, digest = NULL, file = NULL, file_key_cipher = NULL WHERE id = photo;
    END IF;
    RETURN thing.id;
END
$$;

-- Which of these files belong to a photo.
CREATE OR REPLACE FUNCTION photo_files_kept(names text[]) RETURNS SETOF text
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
    SELECT p.file FROM incident_photos AS p WHERE p.file = ANY (names)
$$;

-- Whether where a matter is may be told exactly: it is of things in public places. Where people quarrel or want help is told as
-- everything else, by its grid.
CREATE OR REPLACE FUNCTION matter_of_things(code text) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT code ~ '^(0[1-9]|10|2[4-8])\d*$'
$$;

-- What has been reported of the same matter near a place and is not settled: what is told is public of each.
CREATE OR REPLACE FUNCTION reports_near(of_matter text, place geometry)
RETURNS TABLE (id uuid, matter text, reported_at timestamptz, stage text, area text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
    SELECT i.id, i.matter, i.reported_at, s.stage, area_title(i.scope)
    FROM incidents AS i JOIN incident_states AS s ON s.code = i.state
    WHERE matter_of_things(of_matter) AND i.matter = of_matter AND i.retired_at IS NULL AND NOT i.exercise AND NOT s.over AND i.state <> 'closed'
      AND i.reported_at > now() - interval '14 days'
      AND i.geom && ST_Expand(place, 0.002) AND ST_DWithin(i.geom::geography, place::geography, 100)
    ORDER BY i.geom <-> place, i.id LIMIT 3
$$;

-- A receipt of one's own of a case that was there before. Sent again it is the same receipt: the code follows from the key of
-- the device. It tells how the case goes; theirs to move it is not.
CREATE OR REPLACE FUNCTION report_joined(of_incident uuid, ticket text, hash bytea, hashes bytea[]) RETURNS text
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
DECLARE
    known text;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended(of_incident::text, 0));
    SELECT r.ticket INTO known FROM receipts AS r WHERE r.incident = of_incident AND r.code_hash = ANY (hashes);
    IF FOUND THEN
        RETURN known;
    END IF;
    IF NOT EXISTS (SELECT FROM incidents AS i WHERE i.id = of_incident AND i.retired_at IS NULL AND NOT incident_over(i) AND matter_of_things(i.matter)) THEN
        RAISE no_data_found USING MESSAGE = 'no such case';
    END IF;
    INSERT INTO receipts (ticket, code_hash, incident, follows) VALUES ($2, $3, $1, true);
    RETURN $2;
END
$$;

-- How a report goes, to whoever has ticket and code: of the log only when it came to which stage and what was answered, and that
-- to who reported it. Of what was merged, how the other one goes.
CREATE OR REPLACE FUNCTION report_told(wanted text, hashes bytea[])
RETURNS TABLE (ticket text, state text, stage text, merged boolean, follows boolean, reported_at timestamptz, due_at timestamptz, closed_at timestamptz,
               in_charge text, answer text, rating integer, stages jsonb, actions text[], photos bigint)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
    SELECT r.ticket, i.state, s.stage, own.state = 'merged', r.follows, own.reported_at, i.due_at, i.closed_at,
        coalesce((SELECT o.name FROM organisations AS o WHERE o.id = i.lead), area_title(i.lead_area), nullif(i.handler, '')),
        CASE WHEN NOT r.follows THEN (SELECT l.opinion FROM incident_log AS l WHERE l.incident = i.id AND l.action = 'answer' ORDER BY l.number DESC LIMIT 1) END,
        CASE WHEN NOT r.follows THEN own.rating END,
        (SELECT coalesce(jsonb_object_agg(t.stage, t.at), '{}') FROM (
            SELECT g.stage, min(l.at) AS at FROM incident_log AS l JOIN incident_states AS g ON g.code = l.target
            WHERE l.incident = i.id AND g.stage IS NOT NULL GROUP BY g.stage) AS t),
        CASE WHEN NOT r.follows THEN ARRAY(SELECT DISTINCT m.action FROM incident_moves AS m WHERE m.role = 'reporter' AND m.source = own.state
            AND (m.action <> 'object' OR own.closed_at > now() - interval '15 days') ORDER BY 1) ELSE '{}' END,
        CASE WHEN NOT r.follows THEN (SELECT count(*) FROM incident_photos AS p WHERE p.incident = own.id AND p.actor = '' AND p.file IS NOT NULL) ELSE 0 END
    FROM receipts AS r JOIN incidents AS own ON own.id = r.incident
    JOIN incidents AS i ON i.id = CASE WHEN own.state = 'merged' THEN coalesce(own.duplicate_of, own.id) ELSE own.id END
    JOIN incident_states AS s ON s.code = i.state
    WHERE r.ticket = wanted AND r.code_hash = ANY (hashes) AND own.retired_at IS NULL
$$;
