"""
Deletes the dumps and base backups that are older than they are kept, the records of old verifications, and the archived log
that no base backup needs any more. The newest verified backup of either stays (`expiry.py` is the rule), and so does what the
store does not let go: that is tried again the next day.
"""

from datetime import UTC, datetime

from azure.core.exceptions import HttpResponseError, ResourceNotFoundError
from azure.storage.blob import ContainerClient

from archive import superseded_blobs
from common import EXPECTED, BackupError, explain, fail, log, open_container
from holdings import Holdings, take_base_stock, take_stock


def delete(container: ContainerClient, names: list[str]) -> list[str]:
    """Deletes blobs in this order; gives what the store said about those that it kept."""
    refused = []
    for name in names:
        try:
            container.delete_blob(name)
        except ResourceNotFoundError:
            # An interrupted run was here before.
            continue
        except HttpResponseError as error:
            refused.append(f"{name}: {error.message}")
    return refused


def expired(what: str, stock: Holdings, limit: datetime) -> list[str]:
    if stock.verified is None and stock.complete:
        log("backup-retention", "warning", f"no {what} has been verified yet, so none is deleted")
    # The manifest first: without it a dump is no backup, so an interrupted deletion leaves nothing half.
    gone = [blob for backup in stock.expired(limit) for blob in (backup.manifest, backup.dump)]
    return gone + stock.old_records(limit)


def run() -> None:
    container = open_container()
    stock, base_stock = take_stock(container), take_base_stock(container)
    limit = stock.limit(datetime.now(UTC))
    gone = expired("dump", stock, limit) + expired("base backup", base_stock, limit)
    # What the manifests say is asked for after what has expired is known: only those that stay need their log.
    kept = [backup for backup in base_stock.complete if backup.manifest not in gone]
    gone += superseded_blobs(container, kept, limit)
    refused = delete(container, gone)
    result = {
        "deleted": len(gone) - len(refused),
        "kept": len(stock.complete),
        "olderThan": limit.isoformat(),
        "verified": stock.verified and stock.verified.label,
        "keptBase": len(base_stock.complete),
    }
    if refused:
        raise BackupError(f"{len(refused)} of {len(gone)} blobs were not deleted; the first: {refused[0]}")
    log("backup-retention", "info", "retention enforced", ok=True, **result)


if __name__ == "__main__":
    try:
        run()
    except EXPECTED as error:
        fail("backup-retention", explain(error))
