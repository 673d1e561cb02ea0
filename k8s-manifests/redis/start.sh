#!/bin/sh
# Starts Redis: start.sh queue|cache MAX_MEMORY_MIB. The passwords reach it as hashes, in memory.
set -eu
umask 077

hash() { sha256sum "/run/secrets/groundwork/$1-password" | cut -d' ' -f1; }
# Administration and dangerous commands are for people with a shell in the pod, and stay off the network. Clients ask INFO
# whether the server is ready and what it does when its memory is full.
cat >/run/redis/users.acl <<EOF
user default off
user app on #$(hash app) ~* &* +@all -@admin -@dangerous +info
user monitoring on #$(hash monitoring) -@all +ping +info +config|get +slowlog|len +slowlog|get +latency|latest +latency|histogram +client|setname
EOF

exec redis-server /etc/groundwork/redis/redis.conf \
  --include "/etc/groundwork/redis/$1.conf" --maxmemory "${2}mb"
