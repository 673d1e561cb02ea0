#!/bin/sh
# Empties this Redis, if it is the primary: after a restore of the database, what was queued and cached from the old one is
# wrong. The workers queue again what the database holds as unfinished.
set -eu
secrets=/run/secrets/groundwork
# While two are valid, either will do.
set -- "$secrets"/app-password*
REDISCLI_AUTH=$(cat "$1")
export REDISCLI_AUTH
# FLUSHALL is not the app's to use; its own keys are.
exec redis-cli -e --tls --cacert "$secrets/ca.crt" --user app eval "
  if redis.call('INFO', 'replication'):find('role:master', 1, true) == nil then return 'a replica: left alone' end
  local cursor, keys = '0', 0
  repeat
    local page = redis.call('SCAN', cursor, 'COUNT', 1000)
    cursor = page[1]
    for _, key in ipairs(page[2]) do keys = keys + redis.call('UNLINK', key) end
  until cursor == '0'
  return keys .. ' keys removed'" 0
