#!/bin/sh
# Starts Redis: start.sh queue|cache MAX_MEMORY_MIB. The passwords reach it as hashes, in memory. One of several members
# (MEMBERS) follows the primary.
set -eu
umask 077

purpose=$1
secrets=/run/secrets/groundwork
hash() { sha256sum "$secrets/$1-password" | cut -d' ' -f1; }
. /etc/groundwork/redis/passwords.sh
# Known in this container only; keep.sh signs in by it.
keeper=$(head -c 32 /dev/urandom | sha256sum | cut -d' ' -f1)
# Administration and dangerous commands are for people with a shell in the pod, and stay off the network. Clients ask INFO
# whether the server is ready and what it does when its memory is full.
cat >/run/redis/users.acl <<END
user default off
user app on $(app_hashes) ~* &* +@all -@admin -@dangerous +info
user monitoring on #$(hash monitoring) -@all +ping +info +config|get +slowlog|len +slowlog|get +latency|latest +latency|histogram +client|setname
user keeper on #$(printf %s "$keeper" | sha256sum | cut -d' ' -f1) -@all +acl|setuser +config|set
END
{
  cat /etc/groundwork/redis/redis.conf "/etc/groundwork/redis/$purpose.conf"
  echo "maxmemory ${2}mb"
} >/run/redis/redis.conf

if [ "$MEMBERS" -gt 1 ]; then
  . /etc/groundwork/redis/members.sh
  cat >>/run/redis/users.acl <<END
user replica on #$(hash replica) -@all +psync +replconf +ping
user sentinel on #$(hash sentinel) allchannels -@all +multi +exec +ping +info +role +subscribe +publish +slaveof +config|rewrite +client|setname +client|kill +script|kill
END
  {
    echo "tls-replication yes"
    echo "replica-announce-ip $self"
    echo "masteruser replica"
    echo "masterauth $(cat "$secrets/replica-password")"
    # A primary that has lost its replicas takes no more writes: another may have been chosen.
    echo "min-replicas-to-write 1"
    echo "min-replicas-max-lag 5"
  } >>/run/redis/redis.conf
  primary=$(primary_name)
  echo "the primary is $primary"
  [ "$primary" = "$self" ] || echo "replicaof $primary 6379" >>/run/redis/redis.conf
fi

REDISCLI_AUTH=$keeper /bin/sh /etc/groundwork/redis/keep.sh 6379 keeper &
exec redis-server /run/redis/redis.conf
