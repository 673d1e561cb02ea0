"""
Copies the whole server's files while it runs, compressed and encrypted on their way into the container. Together with the archived
log, any moment since the copy was complete can be recovered to.

The manifest is uploaded last, and only after the server has archived all of the log that the copy needs: what has none is an
interrupted run, and is never taken for a backup.
"""

import hashlib
import json
import subprocess
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any, cast

import psycopg2
from azure.storage.blob import ContainerClient
from psycopg2.extras import PhysicalReplicationConnection

from common import BASE, EXPECTED, SCRATCH, Backup, BackupError, explain, fail, log, open_container, setting, timestamp
from pgpass import write_pgpass
from segments import segment_before, segment_name

CHUNK_BYTES = 1 << 20
COPY = [
    "pg_basebackup",
    "--pgdata=-",
    "--format=tar",
    # The archive has it; so the server waits until it has, and says so if it does not get there.
    "--wal-method=none",
    "--checkpoint=fast",
    "--no-password",
    "--verbose",
]


def identify_system() -> tuple[str, str]:
    """Identifier of the database system, and the name of the segment that it writes to now."""
    connection = psycopg2.connect("", connection_factory=PhysicalReplicationConnection)
    try:
        with connection.cursor() as cursor:
            cursor.execute("IDENTIFY_SYSTEM")
            system, timeline, reached, _ = cast(tuple[Any, ...], cursor.fetchone())
    finally:
        connection.close()
    high, low = str(reached).split("/")
    return str(system), segment_name(int(timeline), int(high, 16), int(low, 16))


class Sent:
    """A stream that counts what is read from it."""

    def __init__(self, source: IO[bytes]) -> None:
        self.source, self.digest, self.bytes = source, hashlib.sha256(), 0

    def read(self, size: int = -1) -> bytes:
        chunk = self.source.read(size)
        self.digest.update(chunk)
        self.bytes += len(chunk)
        return chunk


def copy(container: ContainerClient, backup: Backup, recipient: str, said: Path) -> dict[str, Any]:
    """Streams the copy: nothing of it touches a disk here. Gives sizes and the checksum of what was sent."""
    plain = 0
    with (
        said.open("wb") as messages,
        subprocess.Popen(COPY, stdout=subprocess.PIPE, stderr=messages) as server,
        subprocess.Popen(["gzip", "-1"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as gzip,
        subprocess.Popen(["age", "--recipient", recipient], stdin=gzip.stdout, stdout=subprocess.PIPE) as age,
        ThreadPoolExecutor(1) as pool,
    ):
        source, sink = cast(IO[bytes], server.stdout), cast(IO[bytes], gzip.stdin)
        cast(IO[bytes], gzip.stdout).close()
        sent = Sent(cast(IO[bytes], age.stdout))

        def upload() -> None:
            try:
                container.upload_blob(backup.dump, cast(IO[bytes], sent), overwrite=False)
            finally:
                # A store that refuses must end the copy, not hold it up.
                sent.source.close()

        uploading = pool.submit(upload)
        with suppress(BrokenPipeError):
            while chunk := source.read(CHUNK_BYTES):
                plain += len(chunk)
                sink.write(chunk)
        with suppress(BrokenPipeError):
            sink.close()
        source.close()
        uploading.result()
    for name, process in (("pg_basebackup", server), ("gzip", gzip), ("age", age)):
        if process.returncode != 0:
            lines = said.read_text(errors="replace").splitlines()
            raise BackupError(f"{name} failed with exit code {process.returncode}: {lines[-1] if lines else 'no message'}")
    return {"plainBytes": plain, "encrypted": {"sha256": sent.digest.hexdigest(), "bytes": sent.bytes}}


def run() -> None:
    started = datetime.now(UTC)
    backup = Backup(timestamp=timestamp(started), kind=BASE)
    recipient = setting("AGE_RECIPIENT")
    write_pgpass({"*": "replication-password"})
    container = open_container()
    said = SCRATCH / "pg_basebackup.log"
    system, first = identify_system()
    copied = copy(container, backup, recipient, said)
    same, following = identify_system()
    if same != system or following[:8] != first[:8]:
        raise BackupError("another member became the primary during the copy")
    manifest = {
        "kind": backup.kind,
        "dump": backup.dump,
        "recipient": recipient,
        "system": system,
        **copied,
        "firstSegment": first,
        # The server closes the segment in which the copy ends.
        "lastSegment": segment_before(following),
        "startedAt": started.isoformat(),
        "finishedAt": datetime.now(UTC).isoformat(),
    }
    container.upload_blob(backup.manifest, json.dumps(manifest, indent=2), overwrite=False)
    log(
        "backup-base",
        "info",
        "base backup made",
        ok=True,
        backup=backup.label,
        bytes=manifest["encrypted"]["bytes"],
        plainBytes=manifest["plainBytes"],
        seconds=round((datetime.now(UTC) - started).total_seconds(), 1),
    )


if __name__ == "__main__":
    try:
        run()
    except EXPECTED as error:
        fail("backup-base", explain(error))
