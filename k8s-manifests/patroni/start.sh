#!/bin/sh
# Starts a Patroni member: lays its configuration together, with the passwords from their mounted files, in memory.
set -eu
umask 077

secrets=/run/secrets/groundwork
config=/run/patroni/config
mkdir -p "$config" /var/lib/postgresql/data/main
chmod 0700 /var/lib/postgresql/data/main
# By force: what the container before this one in the pod has left cannot be written to.
cp --force "$secrets/tls.pem" /run/patroni/tls.pem
cp --force /etc/groundwork/patroni/patroni.yml "$config/10-patroni.yml"
cp --force /etc/groundwork/patroni-settings/settings.yml "$config/20-settings.yml"
# Members reach each other by the names that their certificates bear.
host=$POD_NAME.postgres-members.$POD_NAMESPACE.svc.cluster.local
# Passwords are letters and digits, so they need no quoting.
cat >"$config/30-member.yml" <<EOF
name: $POD_NAME
restapi:
  connect_address: $POD_IP:8008
kubernetes:
  namespace: $POD_NAMESPACE
  pod_ip: $POD_IP
postgresql:
  connect_address: $host:5432
  authentication:
    superuser:
      username: postgres
    replication:
      username: replicator
      password: $(cat "$secrets/replication-password")
      sslmode: verify-full
      sslrootcert: $secrets/ca.crt
    rewind:
      username: rewinder
      password: $(cat "$secrets/rewind-password")
      sslmode: verify-full
      sslrootcert: $secrets/ca.crt
EOF

# A running cluster keeps what it was bootstrapped with; whichever member starts after a change brings it along.
cluster=/etc/groundwork/patroni-settings/cluster.yml
bring() { timeout 10 patronictl -c "$config" edit-config --quiet --force "$@" postgres >/dev/null 2>&1; }
as_superuser() { PGOPTIONS='-c statement_timeout=5s' psql -XAtq -h /run/patroni -U postgres -d postgres -c "$1" 2>/dev/null; }

# The server reads this one only when it starts, so that it has to be there before. Nothing else may be: how many members
# a write waits for says who may lead, until somebody does.
connections=$(sed -n 's/^ *max_connections: *//p' "$cluster")
brought=/var/lib/postgresql/data/max_connections
if [ "$(cat "$brought" 2>/dev/null)" != "$connections" ]; then
  bring --pg "max_connections=$connections" && echo "$connections" >"$brought"
fi
# However long its first copy of the data takes: until then, a cluster of one that was given more members waits for none.
(
  leads_or_follows="select not pg_is_in_recovery() or exists (select from pg_stat_wal_receiver where status = 'streaming')"
  until [ "$(as_superuser "$leads_or_follows")" = t ] && bring --apply "$cluster"; do sleep 2; done
) &

/bin/sh /etc/groundwork/patroni/keep.sh &

# A commit every few seconds, so that the archive goes on in a quiet hour: its age tells whether archiving works, and any
# moment that it has passed can be recovered to.
while sleep 15; do
  as_superuser "select pg_logical_emit_message(true, 'groundwork', 'heartbeat') where not pg_is_in_recovery()" >/dev/null || true
done &

# The name of a member that has just moved may still lead to its old address, where nobody refuses: libpq would wait there
# for two minutes, and with it every write.
export PGCONNECT_TIMEOUT=3
exec patroni "$config"
