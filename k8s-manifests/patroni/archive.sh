#!/bin/sh
# The server's archive_command: sees that one file of the write-ahead log is in the blob store. What fails is tried again by the
# server, which keeps the file until then. A store that does not answer may hold up no shutdown: the server tries three times
# before it stops, in less than the pod's grace period.
# The system's identifier is part of the name: another cluster's log begins with the same file names.
set -eu
system=$(pg_controldata . | sed -n 's/^Database system identifier: *//p')
# Of a file that was sent before the server asked for it.
note=../archived/$system.${1##*/}
if [ -e "$note" ]; then
  exec rm "$note"
fi
secret=/run/secrets/groundwork/azure-connection-string
if [ -e "$secret" ]; then
  AZURE_STORAGE_CONNECTION_STRING=$(cat "$secret")
  export AZURE_STORAGE_CONNECTION_STRING
fi
exec timeout --kill-after=1 16 python3 /etc/groundwork/patroni/archive.py "$system" "$1"
