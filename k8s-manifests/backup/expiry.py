"""Which of what the container holds may go. Only the rule: no clock, no store and no server, so that it is tested as it is."""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta


def deletion_limit(now: datetime, retention_days: int, immutable_days: int) -> datetime:
    """
    What is older than this is deleted. Nothing goes before the container's immutability has ended; a blob is written later
    than the moment in its name says, hence the day more.
    """
    days = max(retention_days, immutable_days + 1) if immutable_days > 0 else retention_days
    return now - timedelta(days=days)


def expired(
    taken: Mapping[str, datetime], complete: Iterable[str], verified: str | None, limit: datetime
) -> list[str]:
    """
    Names of the backups to delete, oldest first. `taken` holds all of them, interrupted ones too, and when each was begun.

    The newest verified backup stays however old it is, and so does the newest complete one. While none has been verified
    nothing is deleted: nobody knows which of them is good.
    """
    if verified is None:
        return []
    kept = {verified, max(complete, key=taken.__getitem__, default=verified)}
    old = [name for name, moment in taken.items() if moment < limit and name not in kept]
    return sorted(old, key=lambda name: (taken[name], name))
