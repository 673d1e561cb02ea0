#!/bin/sh
# Runs once, on the first primary of a new cluster: makes the database and its roles. Patroni hands over the connection.
set -eu
exec psql --dbname="$1" --no-psqlrc --quiet --set=ON_ERROR_STOP=1 --file=/etc/groundwork/patroni/roles.sql
