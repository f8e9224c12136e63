-- Who may be what. Roles that log in own nothing; roles that own something cannot log in.
-- BYPASSRLS belongs to the definer of our functions and to the bulk loader (COPY FROM does not
-- work on a table with row-level security for a role it binds). So it does to the sealer, which may write ciphers and
-- their hashes only, and of which no trigger takes notice: the same value under another key is no change.
DO $$
DECLARE
    wanted record;
BEGIN
    FOR wanted IN SELECT * FROM (VALUES
        ('jingwei_owner', 'NOLOGIN'),
        ('jingwei_definer', 'NOLOGIN BYPASSRLS'),
        ('jingwei_public', 'NOLOGIN'),
        ('jingwei_own', 'NOLOGIN'),
        ('jingwei_partner', 'NOLOGIN'),
        ('jingwei_area', 'NOLOGIN'),
        ('jingwei_leader', 'NOLOGIN'),
        ('jingwei_organisation', 'NOLOGIN'),
        ('jingwei_partner_several', 'NOLOGIN'),
        ('jingwei_area_several', 'NOLOGIN'),
        ('jingwei_leader_several', 'NOLOGIN'),
        ('jingwei_organisation_several', 'NOLOGIN'),
        ('jingwei_direct', 'NOLOGIN'),
        ('jingwei_web', 'LOGIN NOINHERIT'),
        ('jingwei_door', 'LOGIN'),
        ('jingwei_loader', 'LOGIN BYPASSRLS'),
        ('jingwei_trail', 'LOGIN'),
        ('jingwei_sealer', 'NOLOGIN BYPASSRLS')
    ) AS roles (name, rights)
    LOOP
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = wanted.name) THEN
            BEGIN
                EXECUTE format('CREATE ROLE %I %s NOSUPERUSER NOCREATEDB NOCREATEROLE', wanted.name, wanted.rights);
            EXCEPTION WHEN duplicate_object OR unique_violation THEN
                NULL;  -- another database of this cluster is migrating at the same moment
            END;
        END IF;
    END LOOP;
END
$$;

-- A leader is a worker who may also draw areas and zones. Whoever answers for several areas has the same rights under policies of
-- their own: one range is no condition for them, and a range around all of them read 400 times too much. The web server may
-- become any of them and inherits from none: it is nobody until it says so. A membership that is not here would widen
-- whoever has it, so each other one is taken away.
DO $$
DECLARE
    stray record;
BEGIN
    CREATE TEMP TABLE memberships ON COMMIT DROP AS
    SELECT * FROM (VALUES ('jingwei_area', 'jingwei_leader'), ('jingwei_area_several', 'jingwei_leader_several')) AS m (role, member)
    UNION ALL
    SELECT role, 'jingwei_web' FROM unnest(ARRAY[
        'jingwei_public', 'jingwei_own', 'jingwei_partner', 'jingwei_area', 'jingwei_leader', 'jingwei_organisation',
        'jingwei_partner_several', 'jingwei_area_several', 'jingwei_leader_several', 'jingwei_organisation_several']) AS role;
    FOR stray IN
        SELECT g.rolname AS role, m.rolname AS member FROM pg_auth_members AS a
        JOIN pg_roles AS g ON g.oid = a.roleid JOIN pg_roles AS m ON m.oid = a.member
        WHERE g.rolname ^@ 'jingwei_' AND m.rolname ^@ 'jingwei_' AND NOT m.rolsuper
          AND NOT EXISTS (SELECT FROM memberships AS d WHERE d.role = g.rolname AND d.member = m.rolname)
    LOOP
        EXECUTE format('REVOKE %I FROM %I', stray.role, stray.member);
    END LOOP;
    FOR stray IN
        SELECT * FROM memberships AS d WHERE NOT EXISTS (
            SELECT FROM pg_auth_members AS a JOIN pg_roles AS g ON g.oid = a.roleid JOIN pg_roles AS m ON m.oid = a.member
            WHERE g.rolname = d.role AND m.rolname = d.member)
    LOOP
        EXECUTE format('GRANT %I TO %I', stray.role, stray.member);
    END LOOP;
    DROP TABLE memberships;
END
$$;

-- JIT cost 1.0 s of a 1.5 s join; parallel query halves tile throughput on two cores.
ALTER ROLE jingwei_web SET jit = off;
ALTER ROLE jingwei_web SET max_parallel_workers_per_gather = 0;
-- A table of a million rows is read in part from memory, in the rest from flash: at 4, the price of a spinning disk, whoever has
-- three grids had the whole table read (165 instead of 2 ms).
ALTER ROLE jingwei_web SET random_page_cost = 1.1;
ALTER ROLE jingwei_web SET statement_timeout = '10s';
ALTER ROLE jingwei_web SET lock_timeout = '2s';
ALTER ROLE jingwei_web SET idle_in_transaction_session_timeout = '10s';
ALTER ROLE jingwei_web SET temp_file_limit = '512MB';
ALTER ROLE jingwei_loader SET jit = off;
-- The detail of a broken rule is the whole row, and the row may be a person's: it is not for the server's log.
ALTER ROLE jingwei_web SET log_error_verbosity = 'terse';
ALTER ROLE jingwei_loader SET log_error_verbosity = 'terse';
ALTER ROLE jingwei_door SET log_error_verbosity = 'terse';
ALTER ROLE jingwei_trail SET statement_timeout = '5s';
ALTER ROLE jingwei_door SET statement_timeout = '5s';
