#!/bin/sh
# Probe: ping.sh PORT USER succeeds when Redis or Sentinel answers a signed-in PING.
set -eu
secrets=/run/secrets/groundwork
REDISCLI_AUTH=$(cat "$secrets/$2-password")
export REDISCLI_AUTH
[ "$(redis-cli --tls --cacert "$secrets/ca.crt" --user "$2" -p "$1" ping)" = PONG ]
