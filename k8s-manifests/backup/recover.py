"""
Recovers the database to a moment: a base backup, and what was logged since, in a server of this pod's own. By STEP:

`plan` looks at what there is for MOMENT (ISO 8601) and changes nothing. `restore` recovers to it and puts what was in the database then
into the database TARGET, which exists and is empty; whoever runs it moves the service afterwards, and only if this succeeded.
FROM may name the base backup to begin with (`base/20260101T024000Z`); without it that is the newest of before MOMENT.
`verify` recovers the newest base backup with all of the archive, and records how that ended.
"""

import hashlib
import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import IO, Any, cast

import psycopg2
from azure.core.exceptions import ResourceNotFoundError
from azure.storage.blob import ContainerClient
from psycopg2 import sql

from archive import ROOT, read_range, segments_of
from common import BASE, EXPECTED, SCRATCH, SCRATCH_FULL, SECRETS, Backup, BackupError, explain, fail, log, open_container, setting
from holdings import BASE_RECORDS, take_base_stock
from inventory import take_inventory
from restore import check_key, foreign_key, put
from segments import LogRange, end_of_log, missing
from verify import SERVER_OPTIONS, command, connect, download, message, record

DATA = SCRATCH / "recovered"
SERVER_LOG = SCRATCH / "recovered.log"
DUMP = SCRATCH / "dump"
# The log since the last base backup is read one segment at a time.
RECOVERY_SECONDS = 4 * 3600
# Before a segment arrives, this long may have passed since the last commit in it; recovery stops at a commit after the moment.
HEARTBEAT = timedelta(seconds=20)
WITHOUT = {"listen_addresses", "wal_level", "max_wal_senders"}


def read_manifest(container: ContainerClient, backup: Backup) -> dict[str, Any]:
    try:
        manifest: dict[str, Any] = json.loads(container.download_blob(backup.manifest).readall())
        datetime.fromisoformat(manifest["finishedAt"])
        needed = {"recipient", "system", "firstSegment", "lastSegment", "plainBytes"}
        whole = needed <= manifest.keys() and {"sha256", "bytes"} <= manifest["encrypted"].keys()
    except ResourceNotFoundError as error:
        raise BackupError(f"missing: {backup.manifest} is not in the container") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BackupError(f"altered: {backup.manifest} is not a manifest ({type(error).__name__}: {error})") from error
    if not whole or manifest.get("dump") != backup.dump:
        raise BackupError(f"altered: {backup.manifest} is not the manifest of a base backup")
    return manifest


def choose(container: ContainerClient, moment: datetime | None) -> tuple[Backup, dict[str, Any]]:
    """The newest base backup that was complete at the moment; without one the newest."""
    first = None
    for backup in sorted(take_base_stock(container).complete, reverse=True):
        try:
            manifest = read_manifest(container, backup)
        except BackupError as error:
            # A verification is there to find this; a restore wants one that is whole.
            if moment is None:
                raise
            log("backup-recover", "warning", f"passed over {backup.label}: {error}")
            continue
        first = f"{backup.label}, complete at {manifest['finishedAt']}"
        if moment is None or datetime.fromisoformat(manifest["finishedAt"]) <= moment:
            return backup, manifest
    if first is None:
        raise BackupError("missing: the container holds no base backup that can be read; `make backup KIND=base` makes one")
    raise BackupError(f"missing: no base backup is as old as {moment}; the first is {first}")


def begin_with(container: ContainerClient, moment: datetime) -> tuple[Backup, dict[str, Any]]:
    """The base backup that FROM names, or the newest that will do."""
    named = os.environ.get("FROM")
    if not named:
        return choose(container, moment)
    backup = Backup.parse(named)
    if not backup or backup.kind != BASE:
        raise BackupError(f"FROM={named} names no base backup; write base/<timestamp>, as in base/20260101T024000Z")
    manifest = read_manifest(container, backup)
    if datetime.fromisoformat(manifest["finishedAt"]) > moment:
        raise BackupError(f"{named} was complete at {manifest['finishedAt']}, after {moment}: name an older one, or none")
    return backup, manifest


def one_before(container: ContainerClient, backup: Backup) -> str:
    """What to do about a base backup that is damaged."""
    older = [other for other in take_base_stock(container).complete if other < backup]
    return f"FROM={max(older).label} begins with the one before" if older else "there is no older one"


def whole_log(container: ContainerClient, backup: Backup) -> tuple[LogRange, dict[str, datetime]]:
    """What of the log the base backup needs, and the archive: its segments, and when each arrived."""
    needed = read_range(container, backup)
    archived = segments_of(container, needed.system)
    gap = missing(archived, needed)
    if gap is not None:
        raise BackupError(f"missing: segment {gap} of the log is not in {ROOT}{needed.system}/, and {backup.label} needs it")
    return needed, archived


def check_log(container: ContainerClient, backup: Backup, moment: datetime) -> datetime:
    """Gives the moment that the archive reaches to."""
    _, archived = whole_log(container, backup)
    reached = max(archived.values()) - HEARTBEAT
    if moment > reached:
        raise BackupError(
            f"not archived: the archive reaches to {reached.isoformat()}; a moment is there a minute and a half later"
        )
    return reached


def plan(container: ContainerClient) -> dict[str, Any]:
    moment = wanted()
    backup, manifest = begin_with(container, moment)
    try:
        download(container, backup, manifest["encrypted"], Path(os.devnull))
    except BackupError as error:
        raise BackupError(f"{error}; {one_before(container, backup)}") from error
    check_key(container, backup, manifest)
    reached = check_log(container, backup, moment)
    return {
        "backup": backup.label,
        "baseAt": manifest["finishedAt"],
        "archivedTo": reached.isoformat(),
        "verified": backup == take_base_stock(container).verified,
        "dumpBytes": manifest["encrypted"]["bytes"],
        "databaseBytes": manifest["plainBytes"],
    }


def wanted() -> datetime:
    text = setting("MOMENT")
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise BackupError(f"MOMENT={text} is no time in ISO 8601") from error
    if moment.tzinfo is None:
        raise BackupError(f"MOMENT={text} names no time zone")
    return moment


def fetch(container: ContainerClient, backup: Backup, manifest: dict[str, Any]) -> None:
    """Decrypts and unpacks the base backup as it arrives."""
    shutil.rmtree(DATA, ignore_errors=True)
    DATA.mkdir(mode=0o700)
    digest, expected = hashlib.sha256(), manifest["encrypted"]
    said = SCRATCH / "fetch.log"
    age_command = ["age", "--decrypt", "--identity", str(SECRETS / "age-identity")]
    with (
        said.open("wb") as messages,
        subprocess.Popen(age_command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=messages) as age,
        subprocess.Popen(["tar", "-xzf", "-", "-C", str(DATA)], stdin=age.stdout, stderr=messages) as tar,
    ):
        cast(IO[bytes], age.stdout).close()
        sink = cast(IO[bytes], age.stdin)
        try:
            for chunk in container.download_blob(backup.dump).chunks():
                digest.update(chunk)
                sink.write(chunk)
        except ResourceNotFoundError as error:
            raise BackupError(f"missing: {backup.dump} is not in the container, though its manifest is") from error
        except BrokenPipeError:
            pass
        finally:
            # Else age would wait for more, tar for age, and this program for both, also where the store broke off.
            with suppress(OSError):
                sink.close()
    text = said.read_text(errors="replace")
    if "no identity matched" in text:
        raise foreign_key(manifest)
    if "no space left" in text.lower():
        raise BackupError(SCRATCH_FULL)
    if age.returncode != 0 or tar.returncode != 0 or digest.hexdigest() != expected["sha256"]:
        raise BackupError(f"altered: {backup.dump} is not what its manifest says ({message(text)})")


def configure(manifest: dict[str, Any], target: dict[str, str]) -> None:
    """Settings of our own in place of the server's, and where it stops: it listens on no network, and archives nothing."""
    connection_string = SECRETS / "azure-connection-string"
    if connection_string.exists():
        os.environ["AZURE_STORAGE_CONNECTION_STRING"] = connection_string.read_text().strip()
    source = f"{setting('BLOB_ENDPOINT')}/{setting('BLOB_CONTAINER')}/wal {manifest['system']}"
    fetch_segment = "timeout 120 barman-cloud-wal-restore --quiet --cloud-provider=azure-blob-storage"
    options = {
        **{name: value for name, value in SERVER_OPTIONS.items() if name not in WITHOUT},
        "listen_addresses": "",
        # Nobody asks it anything before it is there, so it need not be as large as the server that wrote the log.
        "hot_standby": "off",
        "restore_command": f'{fetch_segment} {source} %f "%p"',
        "recovery_target_action": "promote",
        **target,
    }
    (DATA / "postgresql.conf").write_text("".join(f"{name} = '{value}'\n" for name, value in options.items()))
    (DATA / "postgresql.auto.conf").write_text("")
    (DATA / "pg_hba.conf").write_text("local all all trust\n")
    (DATA / "recovery.signal").touch()


def await_end_of_recovery() -> None:
    """Until then nobody is let in; `pg_ctl --wait` would call that ready."""
    started = time.monotonic()
    while True:
        time.sleep(0.5)
        try:
            connect("postgres").close()
            return
        except psycopg2.OperationalError as error:
            seconds = time.monotonic() - started
            # It takes a moment to have a pid file.
            if seconds > 5 and command("pg_ctl", "status", f"--pgdata={DATA}").returncode != 0:
                raise BackupError(refusal(SERVER_LOG.read_text(errors="replace"))) from error
            if seconds > RECOVERY_SECONDS:
                raise BackupError(f"not recoverable: not done after {RECOVERY_SECONDS} s") from error


@contextmanager
def recovered_server() -> Iterator[None]:
    """Runs for as long as what was recovered is looked at."""
    start = ["pg_ctl", "start", "--no-wait", "--silent", f"--pgdata={DATA}", f"--log={SERVER_LOG}"]
    subprocess.run(start, stdout=subprocess.DEVNULL, check=True)
    try:
        await_end_of_recovery()
        yield
    finally:
        command("pg_ctl", "stop", "--mode=immediate", f"--pgdata={DATA}")


def refusal(text: str) -> str:
    """Why the server did not get to where it should stop, from its log."""
    # Those who came too early were told so as well.
    fatal = re.findall(r"(?:FATAL|PANIC):\s+(?!the database system is )(.*)", text)
    if any("before configured recovery target was reached" in line for line in fatal):
        return "not archived: the log ends before what it should reach; what the store did not give is in the server's log"
    if "no space left on device" in text.lower():
        return SCRATCH_FULL
    return f"not recoverable: {fatal[-1] if fatal else message(text)}"


def let_in(database: str) -> None:
    """A moment within a restore finds the database closed, to the superuser, too. This is the scratch copy."""
    connection = connect("postgres")
    try:
        with connection.cursor() as cursor:
            cursor.execute(sql.SQL("ALTER DATABASE {} WITH ALLOW_CONNECTIONS true").format(sql.Identifier(database)))
    finally:
        connection.close()


def recover(container: ContainerClient, backup: Backup, manifest: dict[str, Any], target: dict[str, str]) -> dict[str, Any]:
    """Gives what the database held; leaves a dump of it, which needs room beside the server's files, and reads every value."""
    fetch(container, backup, manifest)
    configure(manifest, target)
    database = setting("DATABASE")
    with recovered_server():
        let_in(database)
        connection = connect(database)
        try:
            with connection.cursor() as cursor:
                found = take_inventory(cursor, setting("MIGRATIONS_TABLE"))
        finally:
            connection.close()
        options = ["--format=custom", "--compress=zstd", f"--host={SCRATCH}", "--username=postgres", f"--file={DUMP}"]
        done = command("pg_dump", *options, database)
        if done.returncode != 0:
            raise BackupError(f"not recoverable: {message(done.stderr)}")
    shutil.rmtree(DATA)
    return found


def restore(container: ContainerClient) -> dict[str, Any]:
    started = time.monotonic()
    moment = wanted()
    backup, manifest = begin_with(container, moment)
    found = recover(container, backup, manifest, {"recovery_target_time": moment.isoformat()})
    recovered = round(time.monotonic() - started, 1)
    return {"backup": backup.label, **put(DUMP, found), "recoverySeconds": recovered}


def verify(container: ContainerClient) -> dict[str, Any]:
    result: dict[str, Any] = {"ok": False}
    started = time.monotonic()
    try:
        backup, manifest = choose(container, None)
        result["backup"] = backup.label
        needed, archived = whole_log(container, backup)
        end = end_of_log(archived, needed)
        # Without a target the server is content with what it gets, and a segment that it does not get would end the log unseen.
        found = recover(container, backup, manifest, {"recovery_target_lsn": end} if end else {})
        DUMP.unlink()
        result |= {"ok": True, "rows": sum(found["tables"].values())}
    except EXPECTED as error:
        result["reason"] = explain(error)
    record(container, BASE_RECORDS, result)
    if not result["ok"]:
        raise BackupError(result["reason"])
    return {name: result[name] for name in ("backup", "rows")} | {"seconds": round(time.monotonic() - started, 1)}


STEPS = {"plan": plan, "restore": restore, "verify": verify}


def run() -> None:
    step = setting("STEP")
    log("backup-recover", "info", f"{step} done", ok=True, **STEPS[step](open_container()))


if __name__ == "__main__":
    try:
        run()
    except EXPECTED as error:
        fail("backup-recover", explain(error))
