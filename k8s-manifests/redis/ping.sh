#!/bin/sh
# Probe: ping.sh PORT USER succeeds when Redis or Sentinel answers a signed-in PING. Whether its certificate is still good is
# no question to the pod itself: a restart would not bring another, and cost those who are connected their connections.
set -eu
REDISCLI_AUTH=$(cat "/run/secrets/groundwork/$2-password")
export REDISCLI_AUTH
[ "$(redis-cli --tls --insecure --user "$2" -p "$1" ping)" = PONG ]
