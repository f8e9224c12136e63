-- The functions that run once a row plan their look-ups when the table may still be empty, and keep that plan while a file
-- of 10,000 areas comes in. Kept to the indexes they take a millisecond a row; a hash of all areas a row took seven.

-- Paths: ours, unique, of fixed width per level, the key of rights and of sums.

-- Not STRICT, though nothing gives nothing: as it is, it is written into the statement that asks instead of being called.
CREATE OR REPLACE FUNCTION path_width(level text) RETURNS integer
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE level WHEN 'province' THEN 2 WHEN 'city' THEN 4 WHEN 'district' THEN 6 WHEN 'street' THEN 9
        WHEN 'community' THEN 12 WHEN 'grid' THEN 15 WHEN 'micro_grid' THEN 18 END
$$;

-- The longest path above both, ending where a level ends.
CREATE OR REPLACE FUNCTION path_above(one text, other text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT coalesce(max(left(one, width) COLLATE "C"), '')
    FROM unnest(ARRAY[2, 4, 6, 9, 12, 15, 18]) AS width
    WHERE width <= least(length(one), length(other)) AND left(one, width) = left(other, width)
$$;

-- Numbers in base 36, so that a level of three characters holds 46,655 children and 001 comes before 00A.
CREATE OR REPLACE FUNCTION path_segment(number bigint, width integer) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT string_agg(substr('0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ', (number / (36 ^ place)::bigint % 36)::int + 1, 1), ''
        ORDER BY place DESC)
    FROM generate_series(0, width - 1) AS place
$$;

CREATE OR REPLACE FUNCTION path_number(segment text) RETURNS bigint
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT sum((position(substr(segment, place, 1) IN '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ') - 1)
        * (36 ^ (length(segment) - place))::bigint)::bigint
    FROM generate_series(1, length(segment)) AS place
$$;

CREATE OR REPLACE FUNCTION instance_prefix() RETURNS text
LANGUAGE sql STABLE SECURITY DEFINER PARALLEL SAFE SET search_path = jingwei, public, pg_temp AS $$
    SELECT coalesce((SELECT prefix FROM instance), '')
$$;

-- The living areas that a text may mean: by code, path or name, as people write them.
CREATE OR REPLACE FUNCTION areas_named(wanted text, moment timestamptz) RETURNS SETOF areas
LANGUAGE sql STABLE SECURITY DEFINER SET enable_seqscan = off SET search_path = jingwei, public, pg_temp AS $$
    SELECT * FROM areas
    WHERE (code = wanted OR path = wanted OR name = wanted OR name IN (wanted || '社区', wanted || '街道', wanted || '村'))
      AND theme = 'governance' AND retired_at IS NULL
      AND valid_from <= moment AND (valid_to IS NULL OR valid_to > moment)
$$;

-- The path above a new area: as stated; else the ground it stands on; else the longest code that its own begins with.
CREATE OR REPLACE FUNCTION path_parent(new_level text, stated text, new_code text, shape geometry) RETURNS text
LANGUAGE plpgsql STABLE SET enable_seqscan = off SET search_path = jingwei, public, pg_temp AS $$
DECLARE
    width integer := path_width(new_level);
    found text;
BEGIN
    IF stated <> '' THEN
        SELECT path INTO found FROM areas_named(stated, now()) WHERE length(path) < width
        ORDER BY length(path) DESC, path LIMIT 1;
    END IF;
    IF found IS NULL AND shape IS NOT NULL THEN
        SELECT path INTO found FROM areas
        WHERE geom && shape AND length(path) < width AND theme = 'governance' AND retired_at IS NULL
          AND valid_from <= now() AND (valid_to IS NULL OR valid_to > now()) AND ST_Covers(geom, ST_PointOnSurface(shape))
        ORDER BY length(path) DESC, path LIMIT 1;
    END IF;
    IF found IS NULL AND new_code <> '' THEN
        -- By the beginnings of the code, each looked up: comparing with every code made 10,000 areas take minutes.
        SELECT path INTO found FROM areas
        WHERE code = ANY (ARRAY(SELECT left(new_code, n) FROM generate_series(1, length(new_code) - 1) AS n))
          AND length(path) < width AND retired_at IS NULL
        ORDER BY length(code) DESC, path LIMIT 1;
    END IF;
    RETURN coalesce(found, left(instance_prefix(), width - 1));
END
$$;

-- A path of its own for a new area. The received code is kept as path where it is of our shape, lies under the
-- parent and was never given out; otherwise the next number under the parent. Skipped levels are filled with zeros.
CREATE OR REPLACE FUNCTION path_for(new_level text, stated text, new_code text, shape geometry) RETURNS text
LANGUAGE plpgsql VOLATILE SET enable_seqscan = off SET search_path = jingwei, public, pg_temp AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('area_paths'));
    RETURN path_under(path_parent(new_level, stated, new_code, shape), new_level, new_code);
END
$$;

-- The same, where the path above is known. Whoever calls this holds the lock on the giving out of paths.
CREATE OR REPLACE FUNCTION path_under(parent text, new_level text, new_code text) RETURNS text
LANGUAGE plpgsql VOLATILE SET enable_seqscan = off SET search_path = jingwei, public, pg_temp AS $$
DECLARE
    width integer := path_width(new_level);
    above integer := (SELECT max(w) FROM unnest(ARRAY[0, 2, 4, 6, 9, 12, 15]) AS w WHERE w < width);
BEGIN
    parent := rpad(left(parent, above), above, '0');
    IF new_code ~ '^[0-9A-Z]+$' AND length(new_code) = width AND left(new_code, above) = parent
       AND NOT EXISTS (SELECT FROM area_paths WHERE path = new_code) THEN
        RETURN new_code;
    END IF;
    -- Twelve-digit codes with a tail of zeros are how streets and districts often arrive.
    IF new_code ~ '^[0-9A-Z]+$' AND length(new_code) > width AND left(new_code, above) = parent
       AND substr(new_code, width + 1) ~ '^0+$' AND NOT EXISTS (SELECT FROM area_paths WHERE path = left(new_code, width))
    THEN
        RETURN left(new_code, width);
    END IF;
    RETURN parent || path_segment(
        1 + coalesce((SELECT path_number(right(path, width - above)) FROM area_paths
                      WHERE path > parent AND path < parent || '~' AND length(path) = width
                      ORDER BY path DESC LIMIT 1), 0), width - above);
END
$$;

-- An area written by anyone gets its path, its label point, its history and its place among the paths.
CREATE OR REPLACE FUNCTION area_written() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off
    SET search_path = jingwei, public, pg_temp AS $$
BEGIN
    NEW.code := nullif(btrim(NEW.code), '');
    -- An area that has always been there: 1900 is before anything this server will be told.
    NEW.valid_from := coalesce(NEW.valid_from, '1900-01-01 00:00+08');
    IF TG_OP = 'UPDATE' THEN
        NEW.path := OLD.path;
    ELSIF NEW.path IS NULL OR NOT EXISTS (SELECT FROM area_paths WHERE path = NEW.path) THEN
        NEW.path := path_for(NEW.level, NEW.parent, NEW.code, NEW.geom);
    END IF;
    -- A code that this area has had already is its own, even where another had it too and is no more; and an area that goes
    -- on unchanged under another path takes its code along.
    IF NEW.code IS NOT NULL AND EXISTS (
        SELECT FROM areas AS gone WHERE gone.code = NEW.code AND gone.path <> NEW.path AND gone.level = NEW.level
        AND NOT EXISTS (SELECT FROM areas AS still WHERE still.path = gone.path AND still.retired_at IS NULL
                        AND (still.valid_to IS NULL OR still.valid_to > greatest(now(), NEW.valid_from))))
       AND NOT EXISTS (SELECT FROM areas AS own WHERE own.path = NEW.path AND own.code = NEW.code)
       AND NOT EXISTS (SELECT FROM successions AS s JOIN areas AS before ON before.path = s.old_path AND before.code = NEW.code
                       WHERE s.new_path = NEW.path
                         AND (SELECT count(*) FROM successions AS o WHERE o.new_path = s.new_path) = 1
                         AND (SELECT count(*) FROM successions AS o WHERE o.old_path = s.old_path) = 1)
    THEN
        RAISE check_violation USING MESSAGE = format('code %s belonged to an area that is no more', NEW.code),
            CONSTRAINT = 'areas_code_retired_check', TABLE = 'areas', COLUMN = 'code';
    END IF;
    NEW.label_point := ST_PointOnSurface(NEW.geom);
    INSERT INTO area_paths (path, level) VALUES (NEW.path, NEW.level) ON CONFLICT DO NOTHING;
    RETURN NEW;
END
$$;
