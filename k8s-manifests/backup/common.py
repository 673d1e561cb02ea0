"""What the backup programs share: settings, log lines, the blob container and the names in it."""

import errno
import hashlib
import json
import os
import re
import sys
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NoReturn

import psycopg2
from azure.core.exceptions import AzureError, ResourceExistsError
from azure.storage.blob import BlobServiceClient, ContainerClient

SECRETS = Path(os.environ.get("SECRETS_DIR", "/run/secrets/groundwork"))
SCRATCH = Path(os.environ.get("SCRATCH_DIR", "/tmp"))

DUMP_SUFFIX = ".dump.age"
# Base backups: copies of the whole server's files, to which the archived write-ahead log is applied.
BASE = "base"
BASE_SUFFIX = ".tar.gz.age"
MANIFEST_SUFFIX = ".json"


class BackupError(Exception):
    """A failure whose message says what to look at."""


# What can go wrong outside these programs; anything else is a defect and keeps its traceback.
EXPECTED = (BackupError, AzureError, psycopg2.Error, OSError)
SCRATCH_FULL = "the scratch volume is full; raise its size in the stack's configuration"


def explain(error: BaseException) -> str:
    """One of `EXPECTED` in words."""
    match error:
        case ResourceExistsError():
            return f"a blob of this name exists already and is never overwritten: {error.message}"
        case AzureError():
            return f"the blob store refused: {error.message}"
        case psycopg2.Error():
            return f"the database refused: {str(error).strip()}"
        case OSError(errno=errno.ENOSPC):
            return SCRATCH_FULL
        case _:
            return str(error)


def setting(name: str) -> str:
    """An environment variable that the pod must have."""
    value = os.environ.get(name)
    if not value:
        raise BackupError(f"environment variable {name} is not set; the pod's spec sets it")
    return value


def log(module: str, level: str, message: str, **fields: Any) -> None:
    """One JSON line, as the rest of the stack logs."""
    line = {"timestamp": datetime.now(UTC).isoformat(), "level": level, "module": module, "message": message}
    print(json.dumps(line | fields, ensure_ascii=False), file=sys.stdout, flush=True)


def fail(module: str, reason: str, **fields: Any) -> NoReturn:
    """Says why and ends the job as failed."""
    log(module, "error", reason, ok=False, **fields)
    sys.exit(1)


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@dataclass(frozen=True, order=True)
class Backup:
    """Names one backup; sorts by age, because the timestamp comes first."""

    timestamp: str
    kind: str

    @property
    def label(self) -> str:
        """As a person types it."""
        return f"{self.kind}/{self.timestamp}"

    @property
    def dump(self) -> str:
        return f"{self.stem}{BASE_SUFFIX if self.kind == BASE else DUMP_SUFFIX}"

    @property
    def manifest(self) -> str:
        return f"{self.stem}{MANIFEST_SUFFIX}"

    @property
    def stem(self) -> str:
        return self.label if self.kind == BASE else f"dumps/{self.label}"

    @property
    def taken_at(self) -> datetime:
        return parse_timestamp(self.timestamp)

    @classmethod
    def parse(cls, name: str) -> "Backup | None":
        """From a blob's name, or from `<kind>/<timestamp>` as a person types it."""
        match = re.fullmatch(r"(?:dumps/)?([a-z]+)/(\d{8}T\d{6}Z)(?:\.dump\.age|\.tar\.gz\.age|\.json)?", name)
        return cls(timestamp=match[2], kind=match[1]) if match else None


def timestamp(moment: datetime) -> str:
    return moment.strftime("%Y%m%dT%H%M%SZ")


def parse_timestamp(text: str) -> datetime:
    return datetime.strptime(text, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)


def open_container(retries: int = 5, **timeouts: int) -> ContainerClient:
    """The container, by connection string where there is one (the emulator), else by the pod's Azure identity."""
    options = {"retry_total": retries, **timeouts}
    name = setting("BLOB_CONTAINER")
    connection_string = SECRETS / "azure-connection-string"
    if not connection_string.exists():
        from azure.identity import DefaultAzureCredential

        return ContainerClient(setting("BLOB_ENDPOINT"), name, credential=DefaultAzureCredential(), **options)
    service = BlobServiceClient.from_connection_string(connection_string.read_text().strip(), **options)
    container = service.get_container_client(name)
    # An emulator starts empty. In Azure the container, with its immutability policy, belongs to the stack.
    with suppress(ResourceExistsError):
        container.create_container()
    return container
