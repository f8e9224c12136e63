-- database_facts --
-- What any database can be asked, also one that was never migrated.
SELECT
    current_setting('server_version') AS version,
    current_setting('server_version_num')::integer / 10000 AS major,
    (SELECT extversion FROM pg_extension WHERE extname = 'postgis') AS postgis,
    (SELECT default_version FROM pg_available_extensions WHERE name = 'postgis') AS offered,
    (SELECT bool_and(proleakproof) FROM pg_proc WHERE proname = 'geometry_overlaps' AND pronargs = 2) AS leakproof,
    ARRAY(SELECT rolname::text FROM pg_roles) AS roles,
    to_regclass('jingwei.alembic_version') IS NOT NULL AS founded;

-- migrated_to --
SELECT version_num FROM alembic_version;

-- instance_told --
SELECT name, prefix, demo FROM instance;

-- what_waits --
-- Personal data that should have been destroyed two days ago, and requests of persons that are late.
SELECT (SELECT coalesce(sum(count), 0) FROM retention_due(now() - interval '2 days')) AS overdue,
    (SELECT count(*) FROM rights_requests WHERE finished_at IS NULL AND due_at < now()) AS late;

-- trail_guards --
-- The triggers that write and keep the trail, and are switched on.
SELECT relname || '.' || tgname FROM pg_trigger JOIN pg_class ON pg_class.oid = tgrelid
WHERE relnamespace = 'jingwei'::regnamespace AND NOT tgisinternal AND tgenabled IN ('O', 'A') AND tgname LIKE '%trail%';

-- unreviewed --
-- How often somebody saw a person's name or number in clear and nobody has looked at it for so many days.
SELECT count(*) FROM unmaskings WHERE reviewed_at IS NULL AND at < now() - make_interval(days => :days);
