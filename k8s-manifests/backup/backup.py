"""
Dumps the database, encrypts the dump on its way to disk, and uploads it with a manifest of what it holds.

The dump and the row counts in the manifest come from one exported snapshot, so a restored copy must match exactly.
pg_restore must be able to list the dump, and the store must give back the bytes that it was sent. The manifest is uploaded last:
a dump without one is an interrupted run, and is never taken for a backup.
"""

import hashlib
import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any, cast

import psycopg2
from psycopg2 import sql
from psycopg2.extensions import cursor as Cursor

from common import (
    EXPECTED,
    SCRATCH,
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
from inventory import TABLES, scalar, take_inventory
from pgpass import write_pgpass
from verify import download

CHUNK_BYTES = 1 << 20


@contextmanager
def snapshot() -> Iterator[tuple[Cursor, str]]:
    """A transaction that sees one moment, and the name under which pg_dump can see the same."""
    connection = psycopg2.connect("")
    try:
        with connection.cursor() as cursor:
            cursor.execute(TABLES)
            tables = cursor.fetchall()
        connection.rollback()
        connection.set_session(isolation_level="REPEATABLE READ", readonly=True)
        with connection.cursor() as cursor:
            # The session is idle while pg_dump runs, and counting a large table is slow: both are as they should be.
            cursor.execute("SET idle_in_transaction_session_timeout = 0; SET statement_timeout = 0")
            # Without BYPASSRLS this turns a count of visible rows into an error.
            cursor.execute("SET row_security = off")
            # Before the moment is chosen: a table that is written anew after it, as by a migration, would look empty from it.
            if tables:
                names = sql.SQL(", ").join(sql.Identifier(*table) for table in tables)
                cursor.execute(sql.SQL("LOCK TABLE {} IN ACCESS SHARE MODE").format(names))
            yield cursor, scalar(cursor, "SELECT pg_export_snapshot()")
    finally:
        connection.close()


def dump_encrypted(snapshot_name: str, recipient: str, target: Path) -> dict[str, Any]:
    """Runs pg_dump into age; returns checksum and size of the plain dump, which never touches the disk."""
    target.unlink(missing_ok=True)
    # Of a database of 10 GB it took 3 min where gzip, the default, took more than 11.
    form = ["--format=custom", "--compress=zstd"]
    pg_dump = ["pg_dump", *form, "--no-password", f"--snapshot={snapshot_name}"]
    digest, size = hashlib.sha256(), 0
    age_command = ["age", "--recipient", recipient, "--output", str(target)]
    with (
        subprocess.Popen(pg_dump, stdout=subprocess.PIPE) as dump,
        subprocess.Popen(age_command, stdin=subprocess.PIPE) as age,
        subprocess.Popen(
            ["pg_restore", "--list"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, bufsize=0
        ) as listing,
    ):
        source, sink, contents = (cast(IO[bytes], pipe) for pipe in (dump.stdout, age.stdin, listing.stdin))
        try:
            while chunk := source.read(CHUNK_BYTES):
                digest.update(chunk)
                size += len(chunk)
                sink.write(chunk)
                # The table of contents comes first, and pg_restore ends when it has read it.
                with suppress(BrokenPipeError):
                    contents.write(chunk)
            # A failed dump must not end in a well-formed encrypted file.
            if dump.wait() != 0:
                age.kill()
        except BrokenPipeError:
            dump.kill()
    for name, process in (("pg_dump", dump), ("age", age)):
        if process.returncode > 0:
            raise BackupError(
                f"{name} failed with exit code {process.returncode}; its own message is in the line above"
            )
    if dump.returncode != 0 or age.returncode != 0:
        raise BackupError(
            f"pg_dump ended with {dump.returncode}, age with {age.returncode} (negative: killed by that signal)"
        )
    if listing.returncode != 0:
        raise BackupError("pg_restore cannot list the dump; its own message is in the line above")
    return {"sha256": digest.hexdigest(), "bytes": size}


def run() -> None:
    started = datetime.now(UTC)
    backup = Backup(timestamp=timestamp(started), kind=setting("BACKUP_KIND"))
    recipient = setting("AGE_RECIPIENT")
    encrypted = SCRATCH / "dump.age"
    write_pgpass({"*": "database-password"})
    container = open_container()
    with snapshot() as (cursor, snapshot_name):
        inventory = take_inventory(cursor, setting("MIGRATIONS_TABLE"))
        plain = dump_encrypted(snapshot_name, recipient, encrypted)
    manifest = {
        "kind": backup.kind,
        "dump": backup.dump,
        "database": setting("PGDATABASE"),
        "recipient": recipient,
        "plain": plain,
        "encrypted": {"sha256": sha256(encrypted), "bytes": encrypted.stat().st_size},
        **inventory,
        "startedAt": started.isoformat(),
        "finishedAt": datetime.now(UTC).isoformat(),
    }
    with encrypted.open("rb") as file:
        container.upload_blob(backup.dump, file, overwrite=False)
    download(container, backup, manifest["encrypted"], Path(os.devnull))
    container.upload_blob(backup.manifest, json.dumps(manifest, indent=2, ensure_ascii=False), overwrite=False)
    log(
        "backup",
        "info",
        "backup made",
        ok=True,
        backup=backup.label,
        bytes=manifest["encrypted"]["bytes"],
        rows=sum(inventory["tables"].values()),
        seconds=round((datetime.now(UTC) - started).total_seconds(), 1),
    )


if __name__ == "__main__":
    try:
        run()
    except EXPECTED as error:
        fail("backup", explain(error))
