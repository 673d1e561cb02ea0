#!/bin/sh
# The server's archive_command: sends one file of the write-ahead log, compressed, to the blob store. What fails is tried
# again by the server, which keeps the file until then. A store that does not answer may hold up no shutdown: the server tries
# three times before it stops, in less than the pod's grace period.
# The system's identifier is part of the name: another cluster's log begins with the same file names.
set -eu
secret=/run/secrets/groundwork/azure-connection-string
if [ -e "$secret" ]; then
  AZURE_STORAGE_CONNECTION_STRING=$(cat "$secret")
  export AZURE_STORAGE_CONNECTION_STRING
fi
system=$(pg_controldata . | sed -n 's/^Database system identifier: *//p')
status=0
timeout --kill-after=1 12 barman-cloud-wal-archive --quiet --cloud-provider=azure-blob-storage --zstd \
  "$BLOB_ENDPOINT/$BLOB_CONTAINER/wal" "$system" "$1" || status=$?
case $status in
0 | 124 | 137) exit "$status" ;;
esac
exec timeout --kill-after=1 5 python3 /etc/groundwork/patroni/archived.py "$system" "$1"
