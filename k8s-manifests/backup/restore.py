"""
Two steps of a restore, by STEP. `plan` reads a backup and changes nothing: is it there, are its bytes those of its manifest,
does our key open it. `restore` puts it into the database TARGET, which exists and is empty, and compares what arrived with
what was dumped. Whoever runs it moves the service afterwards, and only if this succeeded.

FROM names the backup (`hourly/20260101T000700Z`); `latest` is the newest.
"""

import os
import subprocess
import time
from pathlib import Path
from typing import Any

import psycopg2
from azure.storage.blob import ContainerClient

from common import EXPECTED, SCRATCH, SECRETS, Backup, BackupError, explain, fail, log, open_container, setting
from holdings import take_stock
from inventory import take_inventory
from pgpass import write_pgpass
from verify import choose, command, decrypt, differences, download, message, read_manifest

# The role that restores may open five connections.
RESTORE_JOBS = 3
HEADER_BYTES = 1 << 16


def plan(container: ContainerClient, backup: Backup) -> dict[str, Any]:
    manifest = read_manifest(container, backup)
    download(container, backup, manifest["encrypted"], Path(os.devnull))
    check_key(container, backup, manifest)
    verified = take_stock(container).verified
    return {
        "takenAt": backup.taken_at.isoformat(),
        "verified": backup == verified,
        "dumpBytes": manifest["encrypted"]["bytes"],
        # A manifest of before this was recorded: a dump is compressed, and has no indexes.
        "databaseBytes": manifest.get("databaseBytes", 4 * manifest["plain"]["bytes"]),
        "tables": len(manifest["tables"]),
        "rows": sum(manifest["tables"].values()),
        "schemaVersion": manifest.get("schemaVersion"),
    }


def check_key(container: ContainerClient, backup: Backup, manifest: dict[str, Any]) -> None:
    """The header alone tells to whom a dump is encrypted; that the rest is missing here is no finding."""
    header = container.download_blob(backup.dump, offset=0, length=HEADER_BYTES).readall()
    age = ["age", "--decrypt", "--identity", str(SECRETS / "age-identity"), "--output", os.devnull]
    done = subprocess.run(age, input=header, capture_output=True)
    if b"no identity matched" in done.stderr:
        raise foreign_key(manifest)
    if b"failed to read header" in done.stderr:
        raise BackupError(f"altered: {backup.dump} is not a file that age encrypted")


def foreign_key(manifest: dict[str, Any]) -> BackupError:
    return BackupError(
        "foreign key: the dump is encrypted to a key that our identity does not open; its manifest names "
        f"{manifest['recipient']}. Set groundwork:ageIdentity to the identity of that recipient, run `pulumi up`, try again"
    )


def entries(plain: Path) -> list[str]:
    listing = command("pg_restore", "--list", str(plain))
    if listing.returncode != 0:
        raise BackupError(f"altered: pg_restore cannot list the dump ({message(listing.stderr)})")
    return [line for line in listing.stdout.splitlines() if line and not line.startswith(";")]


def split(lines: list[str]) -> tuple[list[str], list[str]]:
    """
    What to restore first, and what last: row-level security, which holds for the owner too, and would hide rows from the
    checks of foreign keys. Comments on extensions are left out: those belong to the superuser, who is not here.
    """

    def described(line: str) -> str:
        return line.split(maxsplit=3)[3]

    security = [line for line in lines if described(line).startswith(("ROW SECURITY ", "POLICY "))]
    rest = [line for line in lines if line not in security and not described(line).startswith("COMMENT - EXTENSION ")]
    return rest, security


def pg_restore(plain: Path, lines: list[str], jobs: int) -> None:
    if not lines:
        return
    chosen = SCRATCH / "entries"
    chosen.write_text("\n".join(lines) + "\n")
    arguments = ["--exit-on-error", "--no-password", f"--jobs={jobs}", f"--use-list={chosen}"]
    done = command("pg_restore", *arguments, f"--dbname={setting('TARGET')}", str(plain))
    if done.returncode != 0:
        raise BackupError(f"not restorable here: {message(done.stderr)}")


def inventory() -> dict[str, Any]:
    """As the role that dumps sees it: all rows, whatever their tenant."""
    connection = psycopg2.connect(dbname=setting("TARGET"), user=setting("BACKUP_USER"))
    try:
        with connection.cursor() as cursor:
            cursor.execute("SET row_security = off")
            return take_inventory(cursor, setting("MIGRATIONS_TABLE"))
    finally:
        connection.close()


def restore(container: ContainerClient, backup: Backup) -> dict[str, Any]:
    started = time.monotonic()
    manifest = read_manifest(container, backup)
    encrypted, plain = SCRATCH / "dump.age", SCRATCH / "dump"
    download(container, backup, manifest["encrypted"], encrypted)
    decrypt(encrypted, manifest, plain)
    encrypted.unlink()
    fetched = time.monotonic()
    return {**put(plain, manifest), "fetchSeconds": round(fetched - started, 1)}


def put(plain: Path, expected: dict[str, Any]) -> dict[str, Any]:
    """Puts a dump into TARGET, and compares what is there then with what was expected."""
    started = time.monotonic()
    write_pgpass({setting("PGUSER"): "owner-password", setting("BACKUP_USER"): "backup-password"})
    rest, security = split(entries(plain))
    pg_restore(plain, rest, RESTORE_JOBS)
    pg_restore(plain, security, 1)
    restored = time.monotonic()
    found = inventory()
    different = differences(expected, found)
    if different:
        raise BackupError(f"different: the restored copy is not what was dumped ({'; '.join(different)})")
    return {
        "tables": len(found["tables"]),
        "rows": sum(found["tables"].values()),
        "constraints": found["constraints"],
        "schemaVersion": found["schemaVersion"],
        "restoreSeconds": round(restored - started, 1),
        "checkSeconds": round(time.monotonic() - restored, 1),
    }


STEPS = {"plan": plan, "restore": restore}


def run() -> None:
    named, step = setting("FROM"), setting("STEP")
    container = open_container()
    backup = choose(container, None if named == "latest" else named)
    log("backup-restore", "info", f"{step} done", ok=True, backup=backup.label, **STEPS[step](container, backup))


if __name__ == "__main__":
    try:
        run()
    except EXPECTED as error:
        fail("backup-restore", explain(error))
