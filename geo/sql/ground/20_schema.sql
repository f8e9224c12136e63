-- PostGIS stays where the database has it; ours is a schema of its own, so that nobody's table is in our way.
CREATE EXTENSION IF NOT EXISTS postgis WITH SCHEMA public;
CREATE EXTENSION IF NOT EXISTS btree_gist WITH SCHEMA public;
CREATE EXTENSION IF NOT EXISTS pg_trgm WITH SCHEMA public;

CREATE SCHEMA IF NOT EXISTS jingwei AUTHORIZATION jingwei_owner;
GRANT USAGE ON SCHEMA jingwei TO
    jingwei_definer, jingwei_public, jingwei_own, jingwei_partner, jingwei_partner_several, jingwei_area, jingwei_area_several,
    jingwei_organisation, jingwei_organisation_several, jingwei_direct,
    jingwei_web, jingwei_door, jingwei_loader, jingwei_trail;
-- What people with a login of their own see in QGIS: a view of each noun with the columns that they may read.
CREATE SCHEMA IF NOT EXISTS direct AUTHORIZATION jingwei_owner;
GRANT USAGE ON SCHEMA direct TO jingwei_direct;
REVOKE CREATE ON SCHEMA public FROM PUBLIC;
ALTER DEFAULT PRIVILEGES FOR ROLE jingwei_owner IN SCHEMA jingwei REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;

-- UUIDv7 (RFC 9562): 48 bits of milliseconds, then random. Keys that grow with time keep the index
-- compact, and a device without a network can make them too.
CREATE OR REPLACE FUNCTION jingwei.uuid_v7() RETURNS uuid
LANGUAGE sql VOLATILE PARALLEL SAFE AS $$
    SELECT encode(
        set_bit(set_bit(
            overlay(uuid_send(gen_random_uuid())
                placing substring(int8send((extract(epoch FROM clock_timestamp()) * 1000)::bigint) FROM 3)
                FROM 1 FOR 6),
            52, 1), 53, 1),
        'hex')::uuid
$$;

-- The bounding-box test compares floats of a fixed-SRID column and cannot raise, so it may run before a policy:
-- without this, row-level security turns the spatial index off (0.4 → 440 ms at 1 M rows). Dump and restore lose
-- the mark, so it is set again on every migrate and looked at by `jingwei doctor`.
DO $$
BEGIN
    ALTER FUNCTION public.geometry_overlaps(geometry, geometry) LEAKPROOF;
    REVOKE EXECUTE ON FUNCTION
        public.st_estimatedextent(text, text, text, boolean),
        public.st_estimatedextent(text, text, text),
        public.st_estimatedextent(text, text),
        public.st_findextent(text, text, text),
        public.st_findextent(text, text) FROM PUBLIC;
EXCEPTION WHEN insufficient_privilege THEN
    RAISE WARNING 'geometry_overlaps is not marked LEAKPROOF: spatial queries will be slow (see jingwei doctor)';
END
$$;

-- Whoever logs in may read and write what policies allow, and make nothing: no temporary table, no large object.
DO $$
BEGIN
    EXECUTE format('REVOKE TEMPORARY ON DATABASE %I FROM PUBLIC', current_database());
    EXECUTE format('GRANT TEMPORARY ON DATABASE %I TO jingwei_loader', current_database());
    REVOKE EXECUTE ON FUNCTION
        pg_catalog.lo_creat(integer), pg_catalog.lo_create(oid), pg_catalog.lo_from_bytea(oid, bytea),
        pg_catalog.lo_put(oid, bigint, bytea), pg_catalog.lowrite(integer, bytea) FROM PUBLIC;
EXCEPTION WHEN insufficient_privilege THEN
    RAISE WARNING 'logins may make temporary tables and large objects: only a superuser can take that away';
END
$$;

-- Rows of files on their way in: a table each, made and dropped by the loader, read by our definer functions.
CREATE SCHEMA IF NOT EXISTS staging AUTHORIZATION jingwei_loader;
GRANT USAGE ON SCHEMA staging TO jingwei_definer;
ALTER DEFAULT PRIVILEGES FOR ROLE jingwei_loader IN SCHEMA staging GRANT SELECT ON TABLES TO jingwei_definer;
-- What the worker has to do, as procrastinate keeps it (geo/jobs.py).
CREATE SCHEMA IF NOT EXISTS jobs AUTHORIZATION jingwei_owner;
GRANT USAGE ON SCHEMA jobs TO jingwei_definer, jingwei_loader;
ALTER DEFAULT PRIVILEGES FOR ROLE jingwei_owner IN SCHEMA jobs REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;
