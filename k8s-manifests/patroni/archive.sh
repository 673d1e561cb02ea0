#!/bin/sh
# The server's archive_command: sees that one file of the write-ahead log is in the blob store. What fails is tried again by the
# server, which keeps the file until then. A store that does not answer may hold up no shutdown: the server tries three times
# before it stops, in less than the pod's grace period.
# The system's identifier is part of the name: another cluster's log begins with the same file names.
set -eu
# Patroni hands over what a crashed primary has left before it rewinds it: by the whole path, and from a directory of its own.
case $1 in
  /*) cd "${1%/pg_wal/*}" ;;
esac
file=pg_wal/${1##*/}
system=$(pg_controldata . | sed -n 's/^Database system identifier: *//p')
if [ -z "$system" ]; then
  echo "archive.sh: $PWD tells no system identifier" >&2
  exit 1
fi
# Of a file that was sent before the server asked for it.
note=../archived/$system.${file##*/}
if [ -e "$note" ]; then
  exec rm "$note"
fi
secret=/run/secrets/groundwork/azure-connection-string
if [ -e "$secret" ]; then
  AZURE_STORAGE_CONNECTION_STRING=$(cat "$secret")
  export AZURE_STORAGE_CONNECTION_STRING
fi
exec timeout --kill-after=1 16 python3 /etc/groundwork/patroni/archive.py "$system" "$file"
