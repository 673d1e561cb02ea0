"""
Proves that a backup can be restored: downloads, checks, decrypts and restores it into a server of its own inside
this pod, and compares what arrived with what the manifest says was there.

BACKUP names one (`hourly/20260101T000700Z`); without it the newest daily or weekly one is taken, and the result is recorded in
the container, where the exporter finds it. The exit code is 0 only if everything matched.
"""

import hashlib
import json
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg2
from azure.core.exceptions import ResourceNotFoundError
from azure.storage.blob import ContainerClient
from psycopg2 import sql

from common import (
    BASE,
    EXPECTED,
    MANIFEST_SUFFIX,
    SCRATCH,
    SCRATCH_FULL,
    SECRETS,
    Backup,
    BackupError,
    explain,
    fail,
    log,
    open_container,
    setting,
    sha256,
    timestamp,
)
from holdings import RECORDS
from inventory import take_inventory

RESTORE_JOBS = 4
# These are restored whole; an hourly one, which is newer most of the time, was listed and read back when it was made.
RESTORED = {"daily", "weekly"}
MANIFEST = {
    "dump": str,
    "recipient": str,
    "plain": dict,
    "encrypted": dict,
    "tables": dict,
    "constraints": int,
    "roles": list,
}
# A scratch copy need not survive a crash; and it listens on no network.
SERVER_OPTIONS = {
    "listen_addresses": "",
    "unix_socket_directories": str(SCRATCH),
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "wal_level": "minimal",
    "min_wal_size": "32MB",
    "max_wal_size": "64MB",
    "max_wal_senders": "0",
    "autovacuum": "off",
    "shared_buffers": "32MB",
    # Of each job of the restore: all of them together have to fit into the pod.
    "maintenance_work_mem": "32MB",
    "max_parallel_maintenance_workers": "0",
    "dynamic_shared_memory_type": "mmap",
}


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs a program; one that lacks room says nothing about the backup."""
    done = subprocess.run(arguments, capture_output=True, text=True, errors="replace")
    if done.returncode != 0 and "no space left on device" in done.stderr.lower():
        raise BackupError(SCRATCH_FULL)
    return done


def message(text: str) -> str:
    """The line that names the error, out of what a program wrote to stderr."""
    lines = [line for line in text.splitlines() if line.strip()]
    return next((line for line in lines if "error" in line.lower()), lines[-1] if lines else "no message")


def choose(container: ContainerClient, named: str | None) -> Backup:
    """The newest, unless one is named."""
    if not named:
        return max(dumps(container))
    backup = Backup.parse(named)
    if backup and backup.kind == BASE:
        raise BackupError(f"{named} is a base backup: name the moment to recover to as well, TO_TIME=…")
    if not backup:
        raise BackupError(f"BACKUP={named} names no backup; write <kind>/<timestamp>, as in hourly/20260101T000700Z")
    return backup


def dumps(container: ContainerClient) -> list[Backup]:
    # Whoever has a manifest was finished; that its dump is gone must be found.
    manifests = [blob.name for blob in container.list_blobs("dumps/") if blob.name.endswith(MANIFEST_SUFFIX)]
    backups = [backup for name in manifests if (backup := Backup.parse(name))]
    if not backups:
        raise BackupError("missing: the container holds no backup")
    return backups


def due(backups: list[Backup]) -> Backup:
    """What a day's verification restores. A new stack has nothing but hourly ones at first."""
    return max([backup for backup in backups if backup.kind in RESTORED] or backups)


def read_manifest(container: ContainerClient, backup: Backup) -> dict[str, Any]:
    try:
        text = container.download_blob(backup.manifest).readall()
    except ResourceNotFoundError as error:
        raise BackupError(f"missing: {backup.manifest} is not in the container") from error
    try:
        manifest: dict[str, Any] = json.loads(text)
        wrong = [key for key, kind in MANIFEST.items() if not isinstance(manifest[key], kind)]
        wrong += [key for key in ("plain", "encrypted") if not {"sha256", "bytes"} <= manifest[key].keys()]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BackupError(f"altered: {backup.manifest} is not a manifest ({type(error).__name__}: {error})") from error
    if wrong:
        raise BackupError(f"altered: {backup.manifest} is not a manifest (wrong: {', '.join(wrong)})")
    if manifest["dump"] != backup.dump:
        raise BackupError(f"altered: {backup.manifest} is the manifest of {manifest['dump']}")
    return manifest


def download(container: ContainerClient, backup: Backup, expected: dict[str, Any], target: Path) -> None:
    """Raises BackupError where the bytes are not those of the manifest; they may go to the null device, to be read only."""
    digest, size = hashlib.sha256(), 0
    try:
        with target.open("wb") as file:
            for chunk in container.download_blob(backup.dump).chunks():
                digest.update(chunk)
                size += file.write(chunk)
    except ResourceNotFoundError as error:
        raise BackupError(f"missing: {backup.dump} is not in the container, though its manifest is") from error
    if size < expected["bytes"]:
        raise BackupError(f"truncated: {backup.dump} has {size} bytes of the {expected['bytes']} in its manifest")
    if size > expected["bytes"]:
        raise BackupError(f"altered: {backup.dump} has {size} bytes, its manifest says {expected['bytes']}")
    if digest.hexdigest() != expected["sha256"]:
        raise BackupError(f"altered: {backup.dump} has another checksum than its manifest says")


def decrypt(encrypted: Path, manifest: dict[str, Any], target: Path) -> None:
    age = command(
        "age", "--decrypt", "--identity", str(SECRETS / "age-identity"), "--output", str(target), str(encrypted)
    )
    if "no identity matched" in age.stderr:
        raise BackupError(
            "foreign key: the dump is encrypted to a key that our identity does not open; "
            f"its manifest names {manifest['recipient']}"
        )
    if age.returncode != 0:
        raise BackupError(f"altered: age could not decrypt the dump ({message(age.stderr)})")
    if sha256(target) != manifest["plain"]["sha256"]:
        raise BackupError("altered: the decrypted dump has another checksum than its manifest says")


@contextmanager
def scratch_server() -> Iterator[None]:
    """A server on this pod's own volume, reached by a Unix socket, for as long as the verification takes."""
    data = SCRATCH / "scratch-server"
    init = command(
        "initdb",
        f"--pgdata={data}",
        "--username=postgres",
        "--auth=trust",
        "--encoding=UTF8",
        "--locale=C.UTF-8",
        "--no-sync",
    )
    if init.returncode != 0:
        raise BackupError(f"initdb of the scratch server failed: {message(init.stderr)}")
    options = " ".join(f"-c {name}='{value}'" for name, value in SERVER_OPTIONS.items())
    log_file = SCRATCH / "scratch-server.log"
    # Its output must not be captured: the server inherits it, and would hold the pipe open.
    start = ["pg_ctl", "start", "--wait", "--silent", f"--pgdata={data}", f"--log={log_file}", f"--options={options}"]
    if subprocess.run(start, stdout=subprocess.DEVNULL).returncode != 0:
        raise BackupError(f"the scratch server did not start: {message(log_file.read_text())}")
    try:
        yield
    finally:
        command("pg_ctl", "stop", "--mode=immediate", f"--pgdata={data}")


def connect(database: str) -> psycopg2.extensions.connection:
    connection = psycopg2.connect(host=str(SCRATCH), user="postgres", dbname=database)
    connection.autocommit = True
    return connection


def restore(plain: Path, manifest: dict[str, Any]) -> dict[str, Any]:
    """Restores with owners, grants and policies as they were, and returns the inventory of the result."""
    database = "restored"
    with scratch_server():
        administration = connect("postgres")
        with administration.cursor() as cursor:
            for role in manifest["roles"]:
                if role != "postgres":
                    cursor.execute(sql.SQL("CREATE ROLE {}").format(sql.Identifier(role)))
            cursor.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(database)))
        administration.close()
        arguments = [
            "--exit-on-error",
            f"--jobs={RESTORE_JOBS}",
            f"--host={SCRATCH}",
            "--username=postgres",
            f"--dbname={database}",
        ]
        restored = command("pg_restore", *arguments, str(plain))
        if restored.returncode != 0:
            raise BackupError(f"not restorable: {message(restored.stderr)}")
        connection = connect(database)
        try:
            with connection.cursor() as cursor:
                return take_inventory(cursor, setting("MIGRATIONS_TABLE"))
        finally:
            connection.close()


def differences(expected: dict[str, Any], found: dict[str, Any]) -> list[str]:
    """What the restored copy has otherwise than the manifest says; empty if nothing."""
    was, now = expected["tables"], found["tables"]
    result = [
        f"{table}: {now.get(table, 'no')} rows restored, {was.get(table, 'no')} recorded"
        for table in sorted(was.keys() | now.keys())
        if was.get(table) != now.get(table)
    ]
    for key in ("constraints", "notValidConstraints", "schemaVersion"):
        if expected.get(key) != found[key]:
            result.append(f"{key}: {found[key]} restored, {expected.get(key)} recorded")
    return result


def verify(container: ContainerClient, backup: Backup) -> dict[str, Any]:
    manifest = read_manifest(container, backup)
    encrypted, plain = SCRATCH / "dump.age", SCRATCH / "dump"
    download(container, backup, manifest["encrypted"], encrypted)
    decrypt(encrypted, manifest, plain)
    encrypted.unlink()
    listing = command("pg_restore", "--list", str(plain))
    if listing.returncode != 0:
        raise BackupError(f"altered: pg_restore cannot list the dump ({message(listing.stderr)})")
    started = time.monotonic()
    found = restore(plain, manifest)
    seconds = round(time.monotonic() - started, 1)
    different = differences(manifest, found)
    if different:
        raise BackupError(f"different: the restored copy is not what was dumped ({'; '.join(different)})")
    return {
        "tables": len(found["tables"]),
        "rows": sum(found["tables"].values()),
        "constraints": found["constraints"],
        "schemaVersion": found["schemaVersion"],
        "restoreSeconds": seconds,
    }


def record(container: ContainerClient, folder: str, result: dict[str, Any]) -> None:
    """The outcome is part of the name, so that a listing of the container is enough to know it."""
    outcome = "passed" if result["ok"] else "failed"
    name = f"{folder}{timestamp(datetime.now(UTC))}.{outcome}.json"
    container.upload_blob(name, json.dumps(result, ensure_ascii=False), overwrite=False)


def run() -> None:
    named = os.environ.get("BACKUP")
    container = open_container()
    result: dict[str, Any] = {"ok": False}
    try:
        backup = choose(container, named) if named else due(dumps(container))
        result["backup"] = backup.label
        result |= verify(container, backup) | {"ok": True}
    except EXPECTED as error:
        result["reason"] = explain(error)
    # A look at another one by hand says nothing about that, so it must not clear or raise an alert.
    if not named:
        record(container, RECORDS, result)
    if not result.pop("ok"):
        fail("backup-verify", result.pop("reason"), **result)
    log("backup-verify", "info", "backup restored and compared", ok=True, **result)


if __name__ == "__main__":
    try:
        run()
    except EXPECTED as error:
        fail("backup-verify", explain(error))
