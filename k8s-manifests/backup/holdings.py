"""What the container holds, and what of it has expired: the same to the program that deletes and to the one that watches."""

import json
import re
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

from azure.storage.blob import ContainerClient

import expiry
from common import BASE, Backup, parse_timestamp, setting

RECORDS = "verifications/"
BASE_RECORDS = "recoveries/"


@dataclass(frozen=True)
class Record:
    """The outcome of one verification; its name tells all but what was verified."""

    moment: datetime
    passed: bool
    name: str

    @classmethod
    def parse(cls, name: str) -> "Record | None":
        match = re.fullmatch(r"[a-z]+/(\d{8}T\d{6}Z)\.(passed|failed)\.json", name)
        # Digits need not be a time.
        with suppress(ValueError):
            return cls(parse_timestamp(match[1]), match[2] == "passed", name) if match else None
        return None


@dataclass(frozen=True)
class Holdings:
    # Every backup of which there is at least one blob, with the size of its dump, None if that is gone.
    backups: dict[Backup, int | None]
    # Those that were finished: the manifest is there, and so is the dump.
    complete: dict[Backup, int]
    # Oldest first.
    records: list[Record]
    # The newest of the complete ones that a verification has restored.
    verified: Backup | None

    def limit(self, now: datetime) -> datetime:
        return expiry.deletion_limit(now, int(setting("RETENTION_DAYS")), int(setting("IMMUTABLE_DAYS")))

    def expired(self, limit: datetime) -> list[Backup]:
        by_label = {backup.label: backup for backup in self.backups}
        labels = expiry.expired(
            {label: backup.taken_at for label, backup in by_label.items()},
            [backup.label for backup in self.complete],
            self.verified and self.verified.label,
            limit,
        )
        return [by_label[label] for label in labels]

    def old_records(self, limit: datetime) -> list[str]:
        """Names of records that are past the limit, but for the last and the last that passed."""
        kept = self.records[-1:] + [record for record in self.records if record.passed][-1:]
        return [record.name for record in self.records if record.moment < limit and record not in kept]


def take_stock(container: ContainerClient) -> Holdings:
    return stock_of(container, "dumps/", RECORDS)


def take_base_stock(container: ContainerClient) -> Holdings:
    """The same of base backups."""
    return stock_of(container, f"{BASE}/", BASE_RECORDS)


def stock_of(container: ContainerClient, folder: str, folder_of_records: str) -> Holdings:
    sizes = {blob.name: blob.size for blob in container.list_blobs(name_starts_with=folder)}
    named = {backup for name in sizes if (backup := Backup.parse(name))}
    complete = {backup: sizes[backup.dump] for backup in named if backup.manifest in sizes and sizes.get(backup.dump)}
    names = [blob.name for blob in container.list_blobs(name_starts_with=folder_of_records)]
    # Whatever else lies there stays as long as the container wants it to, and must not hide the rest.
    records = sorted(filter(None, map(Record.parse, names)), key=lambda record: record.moment)
    return Holdings(
        backups={backup: sizes.get(backup.dump) for backup in named},
        complete=complete,
        records=records,
        verified=newest_verified(container, records, complete),
    )


def newest_verified(
    container: ContainerClient, records: list[Record], complete: dict[Backup, int]
) -> Backup | None:
    for record in reversed(records):
        if record.passed:
            backup = subject(container.download_blob(record.name).readall())
            if backup in complete:
                return backup
    return None


def subject(body: bytes) -> Backup | None:
    """What a verification was of; None where the record does not say."""
    try:
        return Backup.parse(json.loads(body)["backup"])
    except (ValueError, KeyError, TypeError):
        return None
