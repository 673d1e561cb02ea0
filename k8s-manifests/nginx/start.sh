#!/bin/sh
# Runs nginx with the configuration beside this file, and reloads it when the certificate changes: nginx reads it at
# start and on a reload only. A configuration change rolls the pods instead, so that a bad one never takes traffic.
# usage: start.sh <certificate file>
set -eu
certificate=$1
configuration=$(dirname "$0")/nginx.conf

checksum() {
  sha256sum < "$certificate"
}

# Ends with nginx, whose process this shell becomes.
watch_certificate() {
  while sleep 10 && kill -0 $$; do
    mounted=$(checksum) || continue
    if [ "$mounted" = "$loaded" ]; then continue; fi
    # One that cannot be used is refused here, and nginx goes on with the one it has; tried again until it can be used.
    if nginx -e stderr -c "$configuration" -s reload; then loaded=$mounted; fi
  done
}

loaded=$(checksum)
watch_certificate &
exec nginx -e stderr -c "$configuration" -g "daemon off;"
