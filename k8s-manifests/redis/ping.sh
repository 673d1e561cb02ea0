#!/bin/sh
# Probe: succeeds when Redis answers a signed-in PING.
set -eu
REDISCLI_AUTH=$(cat /run/secrets/groundwork/password)
export REDISCLI_AUTH
[ "$(redis-cli ping)" = PONG ]
