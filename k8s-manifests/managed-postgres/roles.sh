#!/bin/sh
# Makes the database and its roles on a managed server, as its administrator; the connection is in libpq's variables.
set -eu
umask 077
secrets=/run/secrets/groundwork
# Passwords are letters and digits, so they need no quoting.
printf '*:*:*:*:%s\n' "$(cat "$secrets/admin-password")" >/tmp/pgpass
export PGPASSFILE=/tmp/pgpass PGCONNECT_TIMEOUT=10
# The statements run the program that lies beside them.
cd "$(dirname "$0")"
exec psql --dbname=postgres --no-psqlrc --quiet --set=ON_ERROR_STOP=1 --file=roles.sql
