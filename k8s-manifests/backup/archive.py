"""The archived write-ahead log, as barman-cloud lays it down: `wal/<system>/wals/<first 16 digits>/<24 digits>.zst`."""

import json
from collections.abc import Iterable, Iterator
from datetime import datetime

from azure.storage.blob import BlobPrefix, ContainerClient

from common import Backup
from segments import Archived, LogRange, parse, superseded

ROOT = "wal/"


def read_range(container: ContainerClient, backup: Backup) -> LogRange:
    manifest = json.loads(container.download_blob(backup.manifest).readall())
    return LogRange(manifest["system"], manifest["firstSegment"], manifest["lastSegment"])


def archived(container: ContainerClient, folder: str = ROOT) -> Iterator[Archived]:
    for blob in container.list_blobs(name_starts_with=folder):
        if file := parse(blob.name, blob.last_modified):
            yield file


def segments_of(container: ContainerClient, system: str) -> dict[str, datetime]:
    """Whole segments of a system, and when each arrived."""
    return {file.segment: file.written for file in archived(container, f"{ROOT}{system}/") if file.whole}


def superseded_blobs(container: ContainerClient, kept: Iterable[Backup], limit: datetime) -> list[str]:
    """Names of the blobs of the log that no kept base backup needs."""
    ranges = [read_range(container, backup) for backup in kept]
    return [file.name for file in superseded(archived(container), ranges, limit)]


def last_archived(container: ContainerClient) -> datetime | None:
    """When the newest segment arrived. The log of a month is long, so only the newest folder of each system is looked into."""
    newest = [max(folders(container, f"{system}wals/"), default=None) for system in folders(container, ROOT)]
    return max((file.written for folder in newest if folder for file in archived(container, folder)), default=None)


def folders(container: ContainerClient, folder: str) -> list[str]:
    return [item.name for item in container.walk_blobs(folder, delimiter="/") if isinstance(item, BlobPrefix)]
