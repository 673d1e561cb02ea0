-- The same roles as patroni/roles.sql makes, on a server whose administrator is no superuser. May run again: it then
-- brings the passwords up to date. What others read there is not this stack's to say, so that verifiers are sent only.
\set verifiers `python3 verifiers.py monitoring`
SELECT :'verifiers'::json ->> 'monitoring-password' AS monitoring_verifier
\gset

SELECT format('CREATE ROLE %I', name)
FROM unnest(ARRAY['app_owner', 'app_user', 'app_readonly', 'app_backup', 'app_monitoring']) AS name
WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = name)
\gexec

-- Owns the schema and migrates it; the app never signs in as this role.
ALTER ROLE app_owner CONNECTION LIMIT 5;
-- The app: row-level security holds for it.
ALTER ROLE app_user NOBYPASSRLS;
-- People and reports: reads, within the row-level security of the tenant that they name.
ALTER ROLE app_readonly NOBYPASSRLS CONNECTION LIMIT 5;
-- Dumps everything, writes nothing.
ALTER ROLE app_backup BYPASSRLS CONNECTION LIMIT 4;
-- Statistics only.
ALTER ROLE app_monitoring LOGIN PASSWORD :'monitoring_verifier' CONNECTION LIMIT 4;
GRANT pg_monitor TO app_monitoring;
\ir logins.sql

-- Whoever made a role may not act as it by that alone.
GRANT app_owner TO CURRENT_USER WITH INHERIT TRUE, SET TRUE;
SELECT 'CREATE DATABASE app OWNER app_owner'
WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = 'app')
\gexec
REVOKE ALL ON DATABASE app FROM PUBLIC;
GRANT CONNECT ON DATABASE app TO app_user, app_readonly, app_backup, app_monitoring;

\connect app
-- On Azure extensions are its administrators' alone to make, and the schema is theirs, not the database's owner's.
CREATE EXTENSION IF NOT EXISTS pg_stat_statements;
CREATE EXTENSION IF NOT EXISTS btree_gin;
REVOKE ALL ON SCHEMA public FROM PUBLIC;
GRANT USAGE, CREATE ON SCHEMA public TO app_owner;
GRANT USAGE ON SCHEMA public TO app_user, app_readonly, app_backup, app_monitoring;
SET ROLE app_owner;
-- pg_read_all_data is a superuser's to give.
GRANT SELECT ON ALL TABLES IN SCHEMA public TO app_backup;
GRANT SELECT ON ALL SEQUENCES IN SCHEMA public TO app_backup;
ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO app_backup;
ALTER DEFAULT PRIVILEGES GRANT SELECT ON SEQUENCES TO app_backup;
