-- Filling an empty table first and indexing it after: the loader owns nothing, so the owner does it for it, and only
-- for a table that is empty, and only with the very statements that PostgreSQL gave.
CREATE OR REPLACE FUNCTION noun_filled(noun text) RETURNS boolean
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
DECLARE
    filled boolean;
BEGIN
    -- As definer: the owner itself is bound by row-level security and would see every table as empty.
    EXECUTE format('SELECT EXISTS (SELECT FROM %I)', noun) INTO filled;
    RETURN filled;
END
$$;

CREATE OR REPLACE FUNCTION indexes_set_aside(noun text) RETURNS SETOF text
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = jingwei, public, pg_temp AS $$
DECLARE
    kept record;
BEGIN
    IF noun_filled(noun) THEN
        RETURN;
    END IF;
    FOR kept IN
        SELECT i.indexrelid::regclass::text AS name, pg_get_indexdef(i.indexrelid) AS statement
        FROM pg_index AS i WHERE i.indrelid = noun::regclass
          AND NOT EXISTS (SELECT FROM pg_constraint AS c WHERE c.conindid = i.indexrelid)
    LOOP
        EXECUTE 'DROP INDEX ' || kept.name;
        RETURN NEXT kept.statement;
    END LOOP;
END
$$;

CREATE OR REPLACE FUNCTION index_restored(noun text, statement text) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET maintenance_work_mem = '256MB' SET search_path = jingwei, public, pg_temp AS $$
BEGIN
    IF statement !~ format('^CREATE (UNIQUE )?INDEX [a-z0-9_]+ ON (ONLY )?(jingwei\.)?%s USING (btree|gist|gin) ', noun)
       OR statement ~ ';' THEN
        RAISE insufficient_privilege USING MESSAGE = 'not an index of this noun';
    END IF;
    EXECUTE statement;
END
$$;
