#!/bin/sh
# Probe: succeeds when Redis answers a signed-in PING.
set -eu
secrets=/run/secrets/groundwork
REDISCLI_AUTH=$(cat "$secrets/monitoring-password")
export REDISCLI_AUTH
[ "$(redis-cli --tls --cacert "$secrets/ca.crt" --user monitoring ping)" = PONG ]
