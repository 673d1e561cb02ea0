#!/bin/sh
# Runs once, on the first primary of a new cluster: makes the database and its roles. Patroni hands over the connection.
set -eu
# The statements run the program that lies beside them.
cd /etc/groundwork/patroni
exec psql --dbname="$1" --no-psqlrc --quiet --set=ON_ERROR_STOP=1 --file=roles.sql
