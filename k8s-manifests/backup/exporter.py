"""
Tells Prometheus what the container really holds: a backup counts when it is there, not when a job said so.

Nothing is kept between starts, so a lost exporter loses nothing. While the container cannot be reached the last
known figures stay, and `groundwork_backup_store_up` is 0.
"""

import signal
import sys
import threading
import time
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from azure.core.exceptions import AzureError
from azure.storage.blob import ContainerClient

from archive import last_archived
from common import log, open_container, setting
from holdings import Holdings, take_base_stock, take_stock

LISTING_SECONDS = 60
# The job that deletes runs once a day.
RETENTION_DELAY = timedelta(days=2)

HELP = {
    "groundwork_backup_store_up": "Whether the container that backups are kept in could be listed.",
    "groundwork_backup_last_success_timestamp_seconds": "When the newest complete backup was begun; for verify "
    "and recover, when the last passed verification of a dump and of a recovery ended; for log, when the newest segment of the "
    "write-ahead log arrived.",
    "groundwork_backup_last_size_bytes": "Size of the newest backup, encrypted.",
    "groundwork_backup_last_verification_passed": "Whether the last verification of a dump, and the last recovery "
    "of a base backup, passed.",
    "groundwork_backup_overdue_deletions": "Backups that should have been deleted two days ago and are still there.",
}

Samples = dict[str, dict[str, float]]


def collect(container: ContainerClient) -> Samples:
    """Metric → labels → value. A kind of which there is none has no sample, and alerts on that."""
    stock, base_stock = take_stock(container), take_base_stock(container)
    complete = stock.complete | base_stock.complete
    newest = {backup.kind: backup for backup in sorted(complete)}
    times = {kind: backup.taken_at.timestamp() for kind, backup in newest.items()}
    # Both kinds of what can be restored, and how the last trials of each went.
    stocks = {"verify": stock, "recover": base_stock}
    for kind, trials in stocks.items():
        passed = [record.moment for record in trials.records if record.passed]
        if passed:
            times[kind] = passed[-1].timestamp()
    archived = last_archived(container)
    if archived:
        times["log"] = archived.timestamp()
    return {
        "groundwork_backup_last_success_timestamp_seconds": labelled(times),
        "groundwork_backup_last_size_bytes": labelled({kind: complete[last] for kind, last in newest.items()}),
        "groundwork_backup_last_verification_passed": labelled(
            {kind: float(trials.records[-1].passed) for kind, trials in stocks.items() if trials.records}
        ),
        "groundwork_backup_overdue_deletions": {"": sum(map(overdue, stocks.values()))},
    }


def overdue(stock: Holdings) -> int:
    return len(stock.expired(stock.limit(datetime.now(UTC) - RETENTION_DELAY)))


def labelled(by_kind: dict[str, float]) -> dict[str, float]:
    return {f'{{kind="{kind}"}}': value for kind, value in by_kind.items()}


class Figures:
    """The samples, renewed when they are asked for and older than `LISTING_SECONDS`."""

    def __init__(self) -> None:
        self.samples: Samples = {}
        self.renewed = float("-inf")
        self.lock = threading.Lock()

    def text(self) -> str:
        with self.lock:
            if time.monotonic() - self.renewed >= LISTING_SECONDS:
                self.renew()
            return "".join(
                f"# HELP {name} {HELP[name]}\n# TYPE {name} gauge\n"
                + "".join(f"{name}{label} {value:.17g}\n" for label, value in values.items())
                for name, values in self.samples.items()
            )

    def renew(self) -> None:
        try:
            self.samples |= collect(open_container(retries=0)) | {"groundwork_backup_store_up": {"": 1}}
        except AzureError as error:
            log("backup-exporter", "error", f"the blob store refused: {error.message}")
            self.samples["groundwork_backup_store_up"] = {"": 0}
        self.renewed = time.monotonic()


def handler(figures: Figures) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path not in ("/metrics", "/health"):
                self.send_error(404)
                return
            body = (figures.text() if self.path == "/metrics" else "ok\n").encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Scrapes and probes are not worth a line each."""

    return Handler


if __name__ == "__main__":
    # The first process of a container has no default for this signal.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    port = int(setting("METRICS_PORT"))
    server = ThreadingHTTPServer(("", port), handler(Figures()))
    log("backup-exporter", "info", "listening", port=port)
    server.serve_forever()
