#!/bin/sh
# Beside Patroni: brings to the running server what has changed in its mounted secrets, within seconds: who may sign in, and
# the certificate.
umask 077
secrets=/run/secrets/groundwork
# The statements run the program that lies beside them.
cd /etc/groundwork/patroni
# Verifiers of passwords are part of the statements: nothing may write those down, even where the server refuses them.
PGOPTIONS='-c log_statement=none -c log_min_duration_statement=-1 -c log_min_error_statement=panic'
export PGOPTIONS="$PGOPTIONS -c pg_stat_statements.track_utility=off"
as_superuser() { psql -XAtq --host=/run/patroni --username=postgres --dbname=postgres --set=ON_ERROR_STOP=1 "$@"; }

logins=
# Of what the server was started with: the mounted one may have changed since.
certificate=$(sha256sum </run/patroni/tls.pem)
while sleep 5; do
  # The database comes last at the first start: before that, the roles are still being made.
  [ "$(as_superuser --command="select 1 from pg_database where datname = 'app'" 2>/dev/null)" = 1 ] || continue

  mounted=$(sha256sum <"$secrets/tls.pem")
  if [ "$mounted" != "$certificate" ]; then
    cp "$secrets/tls.pem" /run/patroni/tls.new && mv /run/patroni/tls.new /run/patroni/tls.pem &&
      as_superuser --command='select pg_reload_conf()' >/dev/null && certificate=$mounted && echo "the certificate is a new one"
  fi

  # A replica has whatever its primary has.
  if [ -e /var/lib/postgresql/data/main/standby.signal ]; then
    logins=
    continue
  fi
  mounted=$(cat "$secrets"/*-password* | sha256sum)
  [ "$mounted" = "$logins" ] && continue
  as_superuser --file=/etc/groundwork/patroni/logins.sql && logins=$mounted && echo "the passwords are those that are mounted"
done
