"""
Tells Prometheus what the container really holds: a backup counts when it is there, not when a job said so.

Nothing is kept between starts, so a lost exporter loses nothing. While the container cannot be reached the last
known figures stay, and `groundwork_backup_store_up` is 0. A scrape does not wait for the container, which may keep silent for longer
than Prometheus waits.
"""

import signal
import sys
import threading
import time
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from azure.storage.blob import ContainerClient

from archive import last_archived
from common import EXPECTED, explain, log, open_container, setting
from holdings import Holdings, take_base_stock, take_stock

LISTING_SECONDS = 60
# The first scrape may come while the first listing is made; Prometheus gives up after ten.
FIRST_SECONDS = 5
TIMEOUTS = {"connection_timeout": 5, "read_timeout": 20}
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
    """The samples; a thread of their own renews them."""

    def __init__(self) -> None:
        self.samples: Samples = {}
        self.known = threading.Event()

    def text(self) -> str | None:
        """None where nothing is known yet."""
        if not self.known.wait(FIRST_SECONDS):
            return None
        return "".join(
            f"# HELP {name} {HELP[name]}\n# TYPE {name} gauge\n"
            + "".join(f"{name}{label} {value:.17g}\n" for label, value in values.items())
            for name, values in self.samples.items()
        )

    def renew(self) -> None:
        try:
            found, up = collect(open_container(retries=0, **TIMEOUTS)), 1
        except Exception as error:
            # Even a defect must not end the renewing: the figures would stay as they are, and look well.
            log("backup-exporter", "error", explain(error) if isinstance(error, EXPECTED) else repr(error))
            found, up = {}, 0
        # Replaced as a whole: a scrape may be reading the old ones.
        self.samples = self.samples | found | {"groundwork_backup_store_up": {"": up}}
        self.known.set()

    def renew_forever(self) -> None:
        while True:
            self.renew()
            time.sleep(LISTING_SECONDS)


def handler(figures: Figures) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def handle(self) -> None:
            # Who went away before the answer is not worth a traceback.
            with suppress(ConnectionError):
                super().handle()

        def do_GET(self) -> None:
            if self.path not in ("/metrics", "/health"):
                self.send_error(404)
                return
            text = figures.text() if self.path == "/metrics" else "ok\n"
            if text is None:
                self.send_error(503)
                return
            body = text.encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Scrapes and probes are not worth a line each."""

    return Handler


def run() -> None:
    # The first process of a container has no default for this signal.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    port = int(setting("METRICS_PORT"))
    figures = Figures()
    threading.Thread(target=figures.renew_forever, daemon=True).start()
    server = ThreadingHTTPServer(("", port), handler(figures))
    log("backup-exporter", "info", "listening", port=port)
    server.serve_forever()


if __name__ == "__main__":
    run()
