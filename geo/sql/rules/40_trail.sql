-- The trail: who came, saw, wrote or was refused what. Rows hang on each other, come at the end, leave at the beginning
-- when they are old enough, and are never altered. They hold who, what and where, ids of records, and nothing personal of
-- those whom the records are about: destroying a record leaves the chain whole.

-- After a restore the extension that SM3 comes from is gone, as it lies outside our schema.
DO $$
BEGIN
    IF EXISTS (SELECT FROM instance WHERE trail_hash = 'sm3') THEN
        CREATE EXTENSION IF NOT EXISTS pgcrypto WITH SCHEMA public;
    END IF;
END
$$;

CREATE OR REPLACE FUNCTION trail_digest(content bytea) RETURNS bytea
LANGUAGE plpgsql STABLE AS $$
BEGIN
    IF (SELECT trail_hash FROM instance) = 'sm3' THEN
        RETURN public.digest(content, 'sm3');
    END IF;
    RETURN sha256(content);
END
$$;

-- The hash due to a row: of the hash before it and, as a JSON array, its number, its moment and what it tells. The number
-- is in it so that a row proves its own place.
CREATE OR REPLACE FUNCTION trail_due(
    id bigint, previous bytea, at timestamptz, actor text, acting_as text, action text, noun text, feature text, scope text,
    purpose text, result text, origin text
) RETURNS bytea
LANGUAGE sql STABLE AS $$
    SELECT trail_digest($2 || convert_to(jsonb_build_array(
        $1, extract(epoch FROM $3)::text, $4, $5, $6, $7, $8, $9, $10, $11, $12)::text, 'UTF8'))
$$;

-- The end of the chain: its last row or, where all were old enough to go, what the last of them left.
CREATE OR REPLACE FUNCTION trail_head() RETURNS TABLE (id bigint, hash bytea, at timestamptz, instance uuid)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
    SELECT h.*, (SELECT i.id FROM instance AS i) FROM (
        (SELECT t.id, t.hash, t.at FROM trail AS t ORDER BY t.id DESC LIMIT 1)
        UNION ALL
        (SELECT c.until, c.hash, c.at FROM trail_cuts AS c ORDER BY c.until DESC LIMIT 1)
        LIMIT 1) AS h
$$;

CREATE OR REPLACE FUNCTION trail_linked(
    id bigint, previous bytea, at timestamptz, actor text, acting_as text, action text, noun text, feature text, scope text,
    purpose text, result text, origin text
) RETURNS bytea
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    due constant bytea := trail_due($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12);
BEGIN
    INSERT INTO trail (id, previous, at, actor, acting_as, action, noun, feature, scope, purpose, result, origin, hash)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, due);
    RETURN due;
END
$$;

-- Append a row. One after the other, and each holds the lock to the end of its transaction: whatever else a transaction
-- needs, it has before it comes here. The lock is that of a table which nobody but the definer may lock; an advisory one
-- could be taken, and held, by anyone who can connect.
DROP FUNCTION IF EXISTS trail_appended(text, text, text, text, text, text, text, text);
CREATE OR REPLACE FUNCTION trail_appended(
    actor text, acting_as text, action text, noun text, feature text, scope text, purpose text, result text, origin text
) RETURNS bigint
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
DECLARE
    last record;
    number bigint;
    linked bytea;
    stamp timestamptz;
BEGIN
    IF $3 <> ALL (trail_actions()) THEN
        RAISE check_violation USING MESSAGE = format('%s is no action of the trail', $3);
    END IF;
    LOCK TABLE trail_cuts IN EXCLUSIVE MODE;
    SELECT t.id, t.hash, t.at INTO last FROM trail AS t ORDER BY t.id DESC LIMIT 1;
    IF NOT FOUND THEN
        SELECT h.id, h.hash, h.at INTO last FROM trail_head() AS h;
    END IF;
    number := coalesce(last.id, 0) + 1;
    linked := coalesce(last.hash, '\x');
    stamp := clock_timestamp();
    -- Rows stand in the order of their writing. That time went back is written down too, so that an entry with an
    -- earlier time than the one before it and nothing said about it was not written here.
    IF last.at > stamp + interval '1 second' THEN
        linked := trail_linked(number, linked, stamp, 'jingwei', '', 'clock', '', '', '', '',
                               format('-%s s', extract(epoch FROM last.at - stamp)), '');
        number := number + 1;
    END IF;
    -- What strangers send may be long; the trail is not where they fill the disk.
    PERFORM trail_linked(number, linked, stamp, left($1, 200), left($2, 200), $3, left($4, 200), left($5, 200), left($6, 200),
                         left($7, 500), left($8, 500), left($9, 200));
    RETURN number;
END
$$;

-- Before this moment rows may go. Neither the setting nor anything else can bring it nearer than 183 days.
CREATE OR REPLACE FUNCTION trail_floor() RETURNS timestamptz
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
    SELECT now() - make_interval(days => greatest(183, (SELECT trail_days FROM instance)))
$$;

CREATE OR REPLACE FUNCTION trail_kept() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
BEGIN
    IF TG_OP = 'DELETE' AND TG_TABLE_NAME = 'trail' THEN
        IF OLD.at < trail_floor() AND OLD.id <= (SELECT max(until) FROM trail_cuts) THEN
            RETURN OLD;
        END IF;
        RAISE insufficient_privilege USING MESSAGE = 'the trail is kept: this row is too young to go, or no cut was recorded';
    END IF;
    RAISE insufficient_privilege USING MESSAGE = 'the trail is append-only';
END
$$;

-- A cut is recorded before rows go, and only for rows that are there and all old enough.
CREATE OR REPLACE FUNCTION trail_cut() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
BEGIN
    IF NEW.hash IS DISTINCT FROM (SELECT hash FROM trail WHERE id = NEW.until)
       OR EXISTS (SELECT FROM trail WHERE id <= NEW.until AND at >= trail_floor())
    THEN
        RAISE insufficient_privilege USING MESSAGE = 'the trail is kept: not all of these rows are old enough to go';
    END IF;
    RETURN NEW;
END
$$;

-- On the statement, so that they hold where no row is met, too.
CREATE OR REPLACE TRIGGER trail_kept BEFORE UPDATE OR TRUNCATE ON trail FOR EACH STATEMENT EXECUTE FUNCTION trail_kept();
CREATE OR REPLACE TRIGGER trail_kept BEFORE UPDATE OR DELETE OR TRUNCATE ON trail_cuts
    FOR EACH STATEMENT EXECUTE FUNCTION trail_kept();
CREATE OR REPLACE TRIGGER trail_floor BEFORE DELETE ON trail FOR EACH ROW EXECUTE FUNCTION trail_kept();
CREATE OR REPLACE TRIGGER trail_cut BEFORE INSERT ON trail_cuts FOR EACH ROW EXECUTE FUNCTION trail_cut();

-- Let the rows go that are old enough, from the beginning up to the first that is not. Returns how many.
CREATE OR REPLACE FUNCTION trail_pruned() RETURNS bigint
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
DECLARE
    final record;
    gone bigint;
BEGIN
    LOCK TABLE trail_cuts IN EXCLUSIVE MODE;
    SELECT id, hash INTO final FROM trail
    WHERE id < coalesce((SELECT id FROM trail WHERE at >= trail_floor() ORDER BY id LIMIT 1), 9223372036854775807)
    ORDER BY id DESC LIMIT 1;
    IF NOT FOUND THEN
        RETURN 0;
    END IF;
    SELECT count(*) INTO gone FROM trail WHERE id <= final.id;
    INSERT INTO trail_cuts (until, hash, rows) VALUES (final.id, final.hash, gone);
    DELETE FROM trail WHERE id <= final.id;
    PERFORM trail_appended(acting(), acting_as(), 'prune', 'trail', final.id::text, instance_prefix(), '',
                           encode(final.hash, 'hex'), origin());
    RETURN gone;
END
$$;

-- The algorithm is that of the whole chain.
CREATE OR REPLACE FUNCTION trail_hash_kept() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
BEGIN
    LOCK TABLE trail_cuts IN EXCLUSIVE MODE;
    IF EXISTS (SELECT FROM trail_head()) THEN
        RAISE check_violation USING MESSAGE = 'the trail has rows', TABLE = 'instance', CONSTRAINT = 'instance_trail_begun_check';
    END IF;
    RETURN NEW;
END
$$;

CREATE OR REPLACE TRIGGER trail_hash_kept BEFORE UPDATE OF trail_hash ON instance FOR EACH ROW
    WHEN (OLD.trail_hash <> NEW.trail_hash) EXECUTE FUNCTION trail_hash_kept();

-- What is written is trailed by the database, whoever writes. At COMMIT, because the chain's lock is held from here to the
-- end of the transaction: taken earlier, a request that then waits for somebody's row, or appends a refusal on the
-- trail's own login, would wait for one who waits for it, the second in a way that PostgreSQL cannot see.
-- What a batch or its undoing did to single rows is told by its own row.
CREATE OR REPLACE FUNCTION change_trailed() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
DECLARE
    told changes;
BEGIN
    -- As it stands now: destruction says so of what was a change when it was made, and takes the place away.
    SELECT * INTO told FROM changes WHERE id = NEW.id;
    IF told.feature IS NULL OR NOT EXISTS (SELECT FROM changes WHERE xid = NEW.xid AND feature IS NULL)
    THEN
        PERFORM trail_appended(
            told.actor, acting_as(), told.operation, told.noun, coalesce(told.feature, told.batch)::text,
            coalesce(told.scope_after, told.scope_before, ''), purpose(), 'done', origin());
    END IF;
    RETURN NULL;
END
$$;

-- The same for tables that have no journal. Arguments: the action, the column that names the row. Of a change it tells
-- which columns, never what is in them.
CREATE OR REPLACE FUNCTION row_trailed() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
DECLARE
    what text := lower(TG_OP);
BEGIN
    IF TG_OP = 'UPDATE' THEN
        SELECT string_agg(n.key, ', ' ORDER BY n.key) INTO what
        FROM jsonb_each(to_jsonb(NEW)) AS n WHERE n.value IS DISTINCT FROM to_jsonb(OLD) -> n.key;
    END IF;
    IF what IS NOT NULL THEN
        PERFORM trail_appended(acting(), acting_as(), TG_ARGV[0], TG_TABLE_NAME,
                               coalesce(to_jsonb(NEW), to_jsonb(OLD)) ->> TG_ARGV[1], '', purpose(), what, origin());
    END IF;
    RETURN NULL;
END
$$;

-- What is waiting to be trailed is trailed now, for a trigger with work to do cannot be made anew.
SET CONSTRAINTS ALL IMMEDIATE;
DROP TRIGGER IF EXISTS changes_trailed ON changes;
CREATE CONSTRAINT TRIGGER changes_trailed AFTER INSERT ON changes DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
    WHEN (NEW.operation NOT IN ('place', 'tell')) EXECUTE FUNCTION change_trailed();
DROP TRIGGER IF EXISTS instance_trailed ON instance;
CREATE CONSTRAINT TRIGGER instance_trailed AFTER UPDATE ON instance DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
    EXECUTE FUNCTION row_trailed('settings', 'id');
DROP TRIGGER IF EXISTS direct_logins_trailed ON direct_logins;
CREATE CONSTRAINT TRIGGER direct_logins_trailed AFTER INSERT OR UPDATE OR DELETE ON direct_logins
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION row_trailed('account', 'login');

-- The trail as the auditor reads it, newest first, from `before` on. It takes the ability; whoever has it and answers for
-- some areas only reads what lies there.
CREATE OR REPLACE FUNCTION trail_told(
    before bigint, most integer, since timestamptz, until timestamptz, who text, of_action text, of_noun text, of_feature text,
    within text
) RETURNS TABLE (
    id bigint, at timestamptz, actor text, acting_as text, action text, noun text, feature text, scope text, purpose text,
    result text, origin text
)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET plan_cache_mode = force_custom_plan SET search_path = jingwei, public, pg_temp AS $$
DECLARE
    bound constant boolean := caller_right() <> 'owner' AND current_setting('jingwei.scopes', true) <> '';
BEGIN
    IF NOT caller_may('audit') THEN
        RAISE insufficient_privilege USING MESSAGE = 'the trail is read by those who audit';
    END IF;
    RETURN QUERY
    SELECT t.id, t.at, t.actor, t.acting_as, t.action, t.noun, t.feature, t.scope, t.purpose, t.result, t.origin
    FROM trail AS t
    WHERE (before IS NULL OR t.id < before) AND (since IS NULL OR t.at >= since) AND (trail_told.until IS NULL OR t.at < trail_told.until)
      AND (who IS NULL OR t.actor = who) AND (of_action IS NULL OR t.action = of_action)
      AND (of_noun IS NULL OR t.noun = of_noun) AND (of_feature IS NULL OR (t.feature = of_feature AND t.feature <> ''))
      AND (within IS NULL OR (t.scope >= within AND t.scope < within || '~'))
      AND (NOT bound OR scopes_hold(t.scope))
    ORDER BY t.id DESC LIMIT most;
END
$$;

-- The first row whose number, hash or link does not follow from the one before it; none when the chain is whole. For
-- whoever looks with psql: `jingwei audit verify` says more, and does not ask functions of this database.
CREATE OR REPLACE FUNCTION trail_broken() RETURNS bigint
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
    WITH cut AS (
        SELECT coalesce(max(until), 0) AS until,
            coalesce((SELECT hash FROM trail_cuts ORDER BY until DESC LIMIT 1), '\x') AS hash FROM trail_cuts
    )
    SELECT min(id) FROM (
        SELECT t.id, t.previous, t.hash,
            lag(t.id, 1, cut.until) OVER (ORDER BY t.id) + 1 AS number, lag(t.hash, 1, cut.hash) OVER (ORDER BY t.id) AS linked,
            trail_due(t.id, t.previous, t.at, t.actor, t.acting_as, t.action, t.noun, t.feature, t.scope, t.purpose, t.result,
                      t.origin) AS due
        FROM trail AS t, cut
    ) AS chain
    WHERE id <> number OR previous <> linked OR hash <> due
$$;
