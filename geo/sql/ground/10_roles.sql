-- Who may be what. Roles that log in own nothing; roles that own something cannot log in.
-- BYPASSRLS belongs to the definer of our functions and to the bulk loader alone (COPY FROM does not
-- work on a table with row-level security for a role it binds).
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
        ('jingwei_several', 'NOLOGIN'),
        ('jingwei_partner_several', 'NOLOGIN'),
        ('jingwei_area_several', 'NOLOGIN'),
        ('jingwei_leader_several', 'NOLOGIN'),
        ('jingwei_organisation_several', 'NOLOGIN'),
        ('jingwei_direct', 'NOLOGIN'),
        ('jingwei_web', 'LOGIN NOINHERIT'),
        ('jingwei_door', 'LOGIN'),
        ('jingwei_loader', 'LOGIN BYPASSRLS'),
        ('jingwei_trail', 'LOGIN')
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

-- A leader is a worker who may also draw areas and zones. Whoever answers for several areas has the right of one, and a
-- restrictive policy on top of it: a policy applies to every member of the role it names.
GRANT jingwei_area TO jingwei_leader;
GRANT jingwei_partner, jingwei_several TO jingwei_partner_several;
GRANT jingwei_area, jingwei_several TO jingwei_area_several;
GRANT jingwei_leader, jingwei_several TO jingwei_leader_several;
GRANT jingwei_organisation, jingwei_several TO jingwei_organisation_several;
-- Without inheriting: the server may become any of them, and is none of them until it says so.
GRANT jingwei_public, jingwei_own, jingwei_partner, jingwei_area, jingwei_leader, jingwei_organisation, jingwei_partner_several,
    jingwei_area_several, jingwei_leader_several, jingwei_organisation_several TO jingwei_web;

-- JIT cost 1.0 s of a 1.5 s join; parallel query halves tile throughput on two cores.
ALTER ROLE jingwei_web SET jit = off;
ALTER ROLE jingwei_web SET max_parallel_workers_per_gather = 0;
ALTER ROLE jingwei_web SET statement_timeout = '10s';
ALTER ROLE jingwei_web SET lock_timeout = '2s';
ALTER ROLE jingwei_web SET idle_in_transaction_session_timeout = '10s';
ALTER ROLE jingwei_web SET temp_file_limit = '512MB';
ALTER ROLE jingwei_loader SET jit = off;
ALTER ROLE jingwei_trail SET statement_timeout = '5s';
ALTER ROLE jingwei_door SET statement_timeout = '5s';
