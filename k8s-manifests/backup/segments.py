"""
Names of the files of the write-ahead log, and which of them a base backup needs. Only the rule, as in `expiry.py`: no store, no
clock. A segment's 24 digits are timeline, log and segment, 8 each; a log has 256 segments.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True)
class LogRange:
    """The part of the log that a base backup cannot do without, and whose it is."""

    # Identifier of the database system.
    system: str
    # Names of the first and the last segment.
    first: str
    last: str


@dataclass(frozen=True)
class Archived:
    """One file of the archive that belongs to a segment: the segment, what was written of it, or a label for it."""

    system: str
    segment: str
    written: datetime
    # Of the blob.
    name: str

    @property
    def whole(self) -> bool:
        return self.name.endswith((f"{self.segment}.zst", f"{self.segment}.gz"))


def parse(name: str, written: datetime) -> Archived | None:
    """From a blob's name; None for a timeline's history, which is a few bytes and is never too many. Segments of before are `.gz`."""
    form = r"wal/(\d+)/wals/[0-9A-F]{16}/([0-9A-F]{24})(?:\.[0-9A-F]{8}\.backup|\.partial)?\.(?:zst|gz)"
    match = re.fullmatch(form, name)
    return Archived(match[1], match[2], written, name) if match else None


def segment_name(timeline: int, high: int, low: int) -> str:
    """Of the segment (16 MiB) that holds the position `high/low`."""
    return f"{timeline:08X}{high:08X}{low >> 24:08X}"


def position(segment: str) -> int:
    """Number of a segment in its system's log, whatever the timeline."""
    return (int(segment[8:16], 16) << 8) + int(segment[16:24], 16)


def numbered(timeline: str, number: int) -> str:
    return f"{timeline}{number >> 8:08X}{number & 0xFF:08X}"


def segment_before(segment: str) -> str:
    """Of the same timeline."""
    return numbered(segment[:8], position(segment) - 1)


def missing(present: Iterable[str], needed: LogRange) -> str | None:
    """
    The first segment that is not there, of those that the backup needs and those after them on its timeline; later timelines
    begin where a replica took over, and are read by the server itself.
    """
    timeline = needed.first[:8]
    there = {position(segment) for segment in present if segment.startswith(timeline)}
    end = max([position(needed.last), *there])
    gap = next((number for number in range(position(needed.first), end + 1) if number not in there), None)
    return None if gap is None else numbered(timeline, gap)


def end_of_log(present: Iterable[str], needed: LogRange) -> str | None:
    """
    A position that only a recovery with all of these segments reaches: where the newest one begins. None while there is none
    beyond those that the backup needs: the server insists on these by itself.
    """
    # By timeline, then by position.
    newest = max(present)
    if position(newest) <= position(needed.last):
        return None
    return f"{int(newest[8:16], 16):X}/{int(newest[16:24], 16) << 24:X}"


def superseded(archived: Iterable[Archived], kept: Iterable[LogRange], limit: datetime) -> list[Archived]:
    """
    Those that are older than the limit and come before all that the kept base backups need. Without a base backup nothing goes:
    nobody knows what the log will be applied to.
    """
    first: dict[str, int] = {}
    for needed in kept:
        first[needed.system] = min(position(needed.first), first.get(needed.system, position(needed.first)))
    return [
        file
        for file in archived
        if first
        and file.written < limit
        and (file.system not in first or position(file.segment) < first[file.system])
    ]
