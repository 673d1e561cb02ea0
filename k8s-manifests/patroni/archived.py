"""
Ends well if the blob store holds a file of the write-ahead log already, byte by byte: `archived.py <system> <path>`. A container
that lets nobody overwrite refuses the file's second sending, which the server does when the first was not known to have ended.
"""

import os
import sys
from pathlib import Path

import zstandard
from azure.core.exceptions import AzureError
from azure.storage.blob import ContainerClient


def open_container() -> ContainerClient:
    name = os.environ["BLOB_CONTAINER"]
    connection_string = os.environ.get("AZURE_STORAGE_CONNECTION_STRING")
    if connection_string:
        return ContainerClient.from_connection_string(connection_string, name, retry_total=0)
    from azure.identity import DefaultAzureCredential

    return ContainerClient(os.environ["BLOB_ENDPOINT"], name, credential=DefaultAzureCredential(), retry_total=0)


def holds(system: str, file: Path) -> bool:
    """Segments and what belongs to them have a folder for each log, histories of timelines have none."""
    folder = "" if file.suffix == ".history" else f"{file.name[:16]}/"
    name = f"wal/{system}/wals/{folder}{file.name}.zst"
    try:
        sent = open_container().download_blob(name).readall()
        return zstandard.ZstdDecompressor().decompressobj().decompress(sent) == file.read_bytes()
    except (AzureError, OSError, zstandard.ZstdError) as error:
        print(f"{name}: {error}", file=sys.stderr)
        return False


if __name__ == "__main__":
    sys.exit(0 if holds(sys.argv[1], Path(sys.argv[2])) else 1)
