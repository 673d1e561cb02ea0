#!/bin/sh
# Starts Redis: start.sh queue|cache MAX_MEMORY_MIB. The password reaches it as a hash, in memory.
set -eu
umask 077

hash=$(sha256sum /run/secrets/groundwork/password | cut -d' ' -f1)
# Administration and dangerous commands are for people with a shell in the pod, and stay off the network.
echo "user default on #$hash ~* &* +@all -@admin -@dangerous +info +keys" >/run/redis/users.acl

exec redis-server /etc/groundwork/redis/redis.conf \
  --include "/etc/groundwork/redis/$1.conf" --maxmemory "${2}mb"
