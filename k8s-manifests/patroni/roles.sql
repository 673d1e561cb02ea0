-- The least that each user of the database needs. Passwords are sent as verifiers only (verifiers.py), and even those stand
-- in no process list and in no log.
SET log_statement = 'none';
SET log_min_duration_statement = -1;
SET log_min_error_statement = panic;
SET pg_stat_statements.track_utility = off;

\set verifiers `python3 verifiers.py monitoring`
SELECT :'verifiers'::json ->> 'monitoring-password' AS monitoring_verifier
\gset

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
CREATE ROLE app_monitoring LOGIN PASSWORD :'monitoring_verifier' CONNECTION LIMIT 4;
GRANT pg_monitor TO app_monitoring;
\ir logins.sql

\set database app
\ir database.sql
