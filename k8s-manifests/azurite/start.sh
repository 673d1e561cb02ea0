#!/bin/sh
# Starts the emulator with the account from a mounted file: Azurite takes it only from its environment, and there it
# must not come from the pod's spec.
set -eu
AZURITE_ACCOUNTS="$(cat /run/secrets/groundwork/azurite-accounts)"
export AZURITE_ACCOUNTS
# --disableProductStyleUrl: the account is in the path, not in the host name, which is the Service's.
# --skipApiVersionCheck: the emulator trails the SDKs, and what backups need of it does not change.
exec azurite-blob --location /data --blobHost 0.0.0.0 --blobPort 10000 \
  --cert /run/secrets/groundwork/tls.pem --key /run/secrets/groundwork/tls.pem \
  --disableTelemetry --disableProductStyleUrl --skipApiVersionCheck --silent
