-- Layers of people's own: what a file holds that is none of our nouns. The loader writes them; whoever loads files for the area
-- of one gives it another name, look or audience, and ends it.

-- Whether the caller is shown a layer: everybody one for everybody; those who work in its area, in a part of it or in what
-- it lies in, one for workers; of these who lead, one for leaders. Asked by the policy of the table.
CREATE OR REPLACE FUNCTION layer_shown(audience integer, scope text) RETURNS boolean
LANGUAGE sql STABLE PARALLEL SAFE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
    SELECT CASE
        WHEN $1 = 0 THEN true
        WHEN caller_right() = 'owner' THEN true
        WHEN caller_right() = 'direct' THEN $1 = 2 AND coalesce($2 ^@ direct_lo() OR direct_lo() ^@ $2, false)
        WHEN caller_right() = 'leader' OR (caller_right() = 'area' AND $1 = 2) THEN EXISTS (
            SELECT FROM unnest(string_to_array(current_setting('jingwei.scopes', true), ',')) AS held (lo)
            WHERE $2 ^@ held.lo OR held.lo ^@ $2)
        ELSE false END
$$;

-- Change a layer: title, about, audience, color, opacity, or with `retired` end it. NULL when it is no longer the version that
-- the caller has `seen`. Who keeps the system loads for every area, and so looks after all layers.
CREATE OR REPLACE FUNCTION layer_changed(wanted uuid, seen integer, fresh jsonb) RETURNS integer
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
DECLARE
    held layers;
    everywhere constant boolean := caller_right() = 'public';
BEGIN
    IF NOT caller_may('load') THEN
        PERFORM refuse('no right to load');
    END IF;
    SELECT * INTO held FROM layers AS l WHERE l.id = wanted AND l.retired_at IS NULL FOR UPDATE;
    IF held.id IS NULL OR NOT (everywhere OR layer_shown(held.audience, held.scope)) THEN
        RAISE no_data_found USING MESSAGE = 'no such layer';
    END IF;
    IF NOT (everywhere OR caller_holds(held.scope)) THEN
        PERFORM refuse('a layer of another area');
    END IF;
    IF seen <> held.version THEN
        RETURN NULL;
    END IF;
    UPDATE layers AS l SET
        title = coalesce(fresh ->> 'title', l.title), about = coalesce(fresh ->> 'about', l.about),
        audience = coalesce((fresh ->> 'audience')::integer, l.audience), color = coalesce(fresh ->> 'color', l.color),
        opacity = coalesce((fresh ->> 'opacity')::float8, l.opacity), retired_at = CASE WHEN fresh ? 'retired' THEN now() END
    WHERE l.id = held.id RETURNING l.version INTO held.version;
    RETURN held.version;
END
$$;

-- Clear away what no layer has shown for so many days, but for the last few editions before the one that is shown: so many may
-- still be taken back. One that was taken back is shown never again. Returns how many things were on them.
CREATE OR REPLACE FUNCTION editions_cleared(kept integer, days integer) RETURNS integer
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
DECLARE
    gone integer;
BEGIN
    WITH former AS (
        SELECT c.feature AS layer, (c.patch ->> 'edition')::uuid AS edition, max(c.at) AS since
        FROM changes AS c JOIN layers AS l ON l.id = c.feature
        WHERE c.noun = 'layers' AND c.patch ? 'edition' AND l.edition <> (c.patch ->> 'edition')::uuid GROUP BY 1, 2
    ), ranked AS (
        SELECT f.edition, f.since, b.undone_at IS NOT NULL AS undone,
            row_number() OVER (PARTITION BY f.layer, b.undone_at IS NULL ORDER BY f.since DESC, f.edition DESC) AS n
        FROM former AS f JOIN batches AS b ON b.id = f.edition
    )
    DELETE FROM layer_features AS f USING ranked AS r
    WHERE f.edition = r.edition AND (r.undone OR r.n > kept) AND r.since < now() - make_interval(days => days);
    GET DIAGNOSTICS gone = ROW_COUNT;
    RETURN gone;
END
$$;

-- As of any noun: versions count up, and the journal keeps what was there, by which a batch is taken back.
CREATE OR REPLACE TRIGGER c_versioned BEFORE UPDATE ON layers FOR EACH ROW EXECUTE FUNCTION row_versioned();
CREATE OR REPLACE TRIGGER z_changed AFTER UPDATE OR DELETE ON layers FOR EACH ROW EXECUTE FUNCTION row_journalled();
