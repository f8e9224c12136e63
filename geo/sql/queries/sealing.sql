-- sealer_able --
-- Whether this session may change keys: become the sealer, and see when others began.
SELECT pg_has_role(session_user, 'jingwei_sealer', 'MEMBER') AND pg_has_role(session_user, 'pg_read_all_stats', 'USAGE')

-- sealer_alone --
-- Whether nobody else is changing keys; from then on nobody else can.
SELECT pg_try_advisory_lock(7460219)

-- sealer_ended --
-- Let the next one change keys.
SELECT pg_advisory_unlock(7460219)

-- unfinished --
-- How many transactions of the logins that hold the keys began before a moment and are not over.
SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid() AND usename = ANY (:logins) AND xact_start < :moment
