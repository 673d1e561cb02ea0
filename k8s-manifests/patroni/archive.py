"""
Sends one file of the write-ahead log to the blob store, compressed, by barman-cloud: `archive.py <system> <path>`, in the server's
directory. To start takes much longer than to send. So what waits behind that file is sent as well, for some seconds, with a note of
each; archive.sh answers by the note when the server asks for it.

A server that has just become the primary asks for the history of its timeline first. Then what the one before it has not sent is
looked for, too.
"""

import os
import re
import sys
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import zstandard
from azure.core.exceptions import AzureError, ResourceNotFoundError
from barman.clients.cloud_walarchive import CloudWalUploader, parse_arguments
from barman.cloud_providers import get_cloud_interface

LOG = Path("pg_wal")
NOTES = Path("../archived")
SECONDS = 8


@cache
def uploader(system: str) -> CloudWalUploader:
    """As `barman-cloud-wal-archive` makes it, which asks for a list of all blobs before each file."""
    store = f"{os.environ['BLOB_ENDPOINT']}/{os.environ['BLOB_CONTAINER']}/wal"
    config = parse_arguments(["--cloud-provider=azure-blob-storage", "--zstd", store, system])
    return CloudWalUploader(get_cloud_interface(config), config.server_name, config.compression)


def send(system: str, file: Path) -> bool:
    """Whether the store holds the file now."""
    to = uploader(system)
    try:
        try:
            to.upload_wal(str(file))
        except ResourceNotFoundError:
            # An emulator starts empty. In Azure the container belongs to the stack, and nobody may make one.
            to.cloud_interface.setup_bucket()
            to.upload_wal(str(file))
    except (AzureError, OSError) as error:
        print(f"{file}: {error}", file=sys.stderr)
        return holds(system, file)
    return True


def holds(system: str, file: Path) -> bool:
    """
    Whether the store has the file already, byte by byte: a container that lets nobody overwrite refuses its second sending, which
    the server asks for when the first was not known to have ended.
    """
    # Segments and what belongs to them have a folder for each log, histories of timelines have none.
    folder = "" if file.suffix == ".history" else f"{file.name[:16]}/"
    name = f"wal/{system}/wals/{folder}{file.name}.zst"
    try:
        sent = uploader(system).cloud_interface.container_client.download_blob(name, retry_total=0).readall()
        return zstandard.ZstdDecompressor().decompressobj().decompress(sent) == file.read_bytes()
    except (AzureError, OSError, zstandard.ZstdError) as error:
        print(f"{name}: {error}", file=sys.stderr)
        return False


def waiting(file: Path) -> Iterator[Path]:
    """What the server will ask for after `file`, oldest first; histories it asks for before all else."""
    for name in sorted(ready.stem for ready in (LOG / "archive_status").glob("*.ready")):
        if name != file.name and not name.endswith(".history"):
            yield LOG / name


def send_on(system: str, file: Path, until: float) -> None:
    """Sends what waits behind the file until then, or until one cannot be sent: the server will ask for it, and hear why."""
    NOTES.mkdir(exist_ok=True)
    notes = {NOTES / f"{system}.{behind.name}": behind for behind in waiting(file)}
    # Of what the server never asked for, as it was the primary no longer.
    for old in set(NOTES.iterdir()) - set(notes):
        old.unlink()
    for note, behind in notes.items():
        if note.exists():
            continue
        if time.monotonic() > until or not send(system, behind):
            return
        note.touch()


def reclaim(system: str) -> None:
    """
    Has the server ask for what the store lacks of the segments that are here. While it followed, it took them for archived as they
    came: the primary before was to send them, and may have been lost before it had.
    """
    status = LOG / "archive_status"
    done = {path.stem for path in status.glob("*.done") if re.fullmatch(r"[0-9A-F]{24}", path.stem)}
    container = uploader(system).cloud_interface.container_client
    held = {
        Path(name).stem
        for folder in {segment[:16] for segment in done}
        for name in container.list_blob_names(name_starts_with=f"wal/{system}/wals/{folder}/", retry_total=0)
    }
    for segment in sorted(done - held):
        print(f"{segment} is here and not in the store", file=sys.stderr)
        (status / f"{segment}.done").rename(status / f"{segment}.ready")


def archive(system: str, file: Path) -> bool:
    until = time.monotonic() + SECONDS
    if not send(system, file):
        return False
    if file.suffix == ".history":
        try:
            reclaim(system)
        except (AzureError, OSError) as error:
            print(f"what the store lacks: {error}", file=sys.stderr)
            return False
    try:
        send_on(system, file, until)
    except OSError as error:
        # Such as a full disk: what was asked for has been sent all the same.
        print(f"{NOTES}: {error}", file=sys.stderr)
    return True


if __name__ == "__main__":
    sys.exit(0 if archive(sys.argv[1], Path(sys.argv[2])) else 1)
