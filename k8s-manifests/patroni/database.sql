-- The application's database, empty, with who may enter it: `database` is its name. A restore makes its new generation with it.
CREATE DATABASE :"database" OWNER app_owner;
REVOKE ALL ON DATABASE :"database" FROM PUBLIC;
GRANT CONNECT ON DATABASE :"database" TO app_user, app_readonly, app_backup, app_monitoring;

\connect :"database"
ALTER SCHEMA public OWNER TO app_owner;
REVOKE ALL ON SCHEMA public FROM PUBLIC;
GRANT USAGE ON SCHEMA public TO app_user, app_readonly, app_backup, app_monitoring;
CREATE EXTENSION pg_stat_statements;
