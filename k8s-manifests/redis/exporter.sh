#!/bin/sh
# Starts the exporter: exporter.sh PORT [SERVER USER]. It takes passwords from a file of its own kind, which is made in memory.
set -eu
umask 077
secrets=/run/secrets/groundwork
server=${2:-localhost:6379}
user=${3:-monitoring}
printf '{"rediss://%s@%s": "%s"}' "$user" "$server" "$(cat "$secrets/monitoring-password")" >/run/redis/exporter.json

exec prometheus-redis-exporter --web.listen-address=":$1" --redis.addr="rediss://$server" --redis.user="$user" \
  --redis.password-file=/run/redis/exporter.json --tls-ca-cert-file="$secrets/ca.crt"
