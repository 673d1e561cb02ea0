-- The least that each user of the database needs. psql reads the passwords from their files, so that they stand in no
-- process list and in no log.
\set monitoring_password `cat /run/secrets/groundwork/monitoring-password`

SET log_statement = 'none';
SET log_min_duration_statement = -1;
SET pg_stat_statements.track_utility = off;

-- Owns the schema and migrates it; the app never signs in as this role.
CREATE ROLE app_owner CONNECTION LIMIT 5;
-- The app: row-level security holds for it.
CREATE ROLE app_user NOBYPASSRLS;
-- People and reports: reads, within the row-level security of the tenant that they name.
CREATE ROLE app_readonly NOBYPASSRLS CONNECTION LIMIT 5;
-- Dumps everything, writes nothing.
CREATE ROLE app_backup BYPASSRLS CONNECTION LIMIT 4;
GRANT pg_read_all_data TO app_backup;
-- Statistics only.
CREATE ROLE app_monitoring LOGIN PASSWORD :'monitoring_password' CONNECTION LIMIT 4;
GRANT pg_monitor TO app_monitoring;
\ir logins.sql

\set database app
\ir database.sql
