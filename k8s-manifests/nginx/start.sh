#!/bin/sh
# Runs nginx with the configuration beside this file, and reloads it when a certificate changes, its own or the
# authority that it trusts: nginx reads them at start and on a reload only. A configuration change rolls the pods
# instead, so that a bad one never takes traffic.
# usage: start.sh <file to watch>...
set -eu
configuration=$(dirname "$0")/nginx.conf

# Ends with nginx, whose process this shell becomes.
watch_files() {
  while sleep 10 && kill -0 $$; do
    mounted=$(sha256sum "$@") || continue
    if [ "$mounted" = "$loaded" ]; then continue; fi
    # One that cannot be used is refused here, and nginx goes on with the one it has; tried again until it can be used.
    if nginx -e stderr -c "$configuration" -s reload; then loaded=$mounted; fi
  done
}

# What a client sends on a kept connection just when nginx reloads or ends would be lost: nginx can wait for it since 1.27.4.
if nginx -v 2>&1 | awk -F '[/.]' '{ exit !($2 > 1 || $3 > 27 || $3 == 27 && $4 >= 4) }'; then
  echo "keepalive_min_timeout 5s;" >/tmp/kept.conf
fi

loaded=$(sha256sum "$@")
watch_files "$@" &
exec nginx -e stderr -c "$configuration" -g "daemon off;"
