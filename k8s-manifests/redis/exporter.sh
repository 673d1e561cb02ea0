#!/bin/sh
# Starts the exporter: exporter.sh PORT. It takes passwords from a file of its own kind, which is made in memory.
set -eu
umask 077
secrets=/run/secrets/groundwork
printf '{"rediss://monitoring@localhost:6379": "%s"}' "$(cat "$secrets/monitoring-password")" >/run/redis/exporter.json

exec prometheus-redis-exporter --web.listen-address=":$1" --redis.addr=rediss://localhost:6379 --redis.user=monitoring \
  --redis.password-file=/run/redis/exporter.json --tls-ca-cert-file="$secrets/ca.crt"
