"""
A client of our own that does what users do, again and again: signs in through the edge, reads, signs out.

Prometheus is told whether the last round worked, and how long each step took. A round that does not end counts as one
that failed. Beside it the certificates inside the cluster are looked at (certificates.py), and the vault where there is one (vault.py).
"""

import json
import os
import signal
import socket
import ssl
import sys
import threading
import time
from collections.abc import Callable, Mapping
from http.client import HTTPSConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Protocol

from certificates import Certificates
from common import log
from vault import Vault

STEP_SECONDS = 5
ACCOUNT = {"tenant": "probe", "username": "probe"}


class Refused(Exception):
    """A step was answered with another status than it should be."""


class Edge(HTTPSConnection):
    """Goes to an address inside the cluster, and takes only the certificate of the public name."""

    def __init__(self, host: str, address: tuple[str, int], tls: ssl.SSLContext) -> None:
        super().__init__(host, timeout=STEP_SECONDS)
        self.address = address
        self.tls = tls

    def connect(self) -> None:
        plain = socket.create_connection(self.address, STEP_SECONDS)
        self.sock = self.tls.wrap_socket(plain, server_hostname=self.host)

    def ask(self, method: str, path: str, expected: int, body: object = None, token: str = "") -> bytes:
        headers = {"Content-Type": "application/json"} if body else {}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        self.request(method, path, json.dumps(body) if body else None, headers)
        response = self.getresponse()
        content = response.read()
        if response.status != expected:
            raise Refused(f"{method} {path}: {response.status}")
        return content


class Prober:
    """The last round's outcome, and the rounds."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        host, _, port = environment["PROBE_ADDRESS"].rpartition(":")
        self.address = (host, int(port))
        self.host = environment["PROBE_HOST"]
        self.interval = int(environment["PROBE_INTERVAL_SECONDS"])
        self.password_file = Path(environment["PROBE_PASSWORD_FILE"])
        self.ca_file = environment.get("PROBE_CA_FILE")
        self.passed = False
        self.ended = time.monotonic()
        self.seconds: dict[str, float] = {}
        self.complaint = ""

    def visit(self) -> None:
        tls = ssl.create_default_context(cafile=self.ca_file)
        edge = Edge(self.host, self.address, tls)
        password = self.password_file.read_text().strip()
        try:
            with Timed(self.seconds, "sign_in"):
                granted = json.loads(edge.ask("POST", "/api/v2/auth/sign-in", 200, ACCOUNT | {"password": password}))
            with Timed(self.seconds, "read"):
                edge.ask("GET", "/api/v1/documents?limit=1", 200, token=granted["accessToken"])
            with Timed(self.seconds, "sign_out"):
                edge.ask("POST", "/api/v2/auth/sign-out", 204, {"refreshToken": granted["refreshToken"]})
        finally:
            edge.close()

    def round(self) -> None:
        complaint = ""
        try:
            self.visit()
        except Exception as error:
            # Whatever it is, or no round would follow. No answer's text: it could hold a token.
            complaint = str(error) if isinstance(error, Refused | OSError) else type(error).__name__
        self.passed, self.ended = not complaint, time.monotonic()
        if complaint != self.complaint:
            log("error" if complaint else "info", complaint or "signing in works again")
        self.complaint = complaint

    def text(self) -> str:
        current = time.monotonic() - self.ended < 3 * self.interval
        lines = [
            "# HELP probe_success Whether signing in and reading worked when it was last tried.",
            "# TYPE probe_success gauge",
            f'probe_success{{probe="sign-in"}} {int(self.passed and current)}',
            "# HELP probe_step_seconds How long each step of the last round took.",
            "# TYPE probe_step_seconds gauge",
            *(f'probe_step_seconds{{step="{step}"}} {seconds:.6f}' for step, seconds in sorted(self.seconds.items())),
        ]
        return "\n".join(lines) + "\n"


class Timed:
    """Keeps how long its block took, also when that ended with an error."""

    def __init__(self, seconds: dict[str, float], step: str) -> None:
        self.seconds, self.step = seconds, step

    def __enter__(self) -> None:
        self.begun = time.monotonic()

    def __exit__(self, *_: object) -> None:
        self.seconds[self.step] = time.monotonic() - self.begun


class Observer(Protocol):
    def round(self) -> None: ...

    def text(self) -> str: ...


def repeat(seconds: int, action: Callable[[], None]) -> None:
    while True:
        begun = time.monotonic()
        action()
        time.sleep(max(1, seconds - (time.monotonic() - begun)))


def handler(observers: list[Observer]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path not in ("/metrics", "/health"):
                self.send_error(404)
                return
            told = "".join(observer.text() for observer in observers)
            body = (told if self.path == "/metrics" else "ok\n").encode()
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
    observers: list[Observer] = [Certificates(os.environ)]
    if "PROBE_PASSWORD_FILE" in os.environ:
        observers.append(Prober(os.environ))
    if "VAULT_URL" in os.environ:
        observers.append(Vault(os.environ))
    interval = int(os.environ["PROBE_INTERVAL_SECONDS"])
    for observer in observers:
        # Each question is a line in the vault's audit log.
        seconds = 4 * interval if isinstance(observer, Vault) else interval
        threading.Thread(target=repeat, args=(seconds, observer.round), daemon=True).start()
    ThreadingHTTPServer(("", int(os.environ["METRICS_PORT"])), handler(observers)).serve_forever()
