"""
When the certificates inside the cluster end, which people renew by hand: what each server shows to whoever connects, and the
authority by which all of them are checked.
"""

import json
import socket
import ssl
import struct
from collections.abc import Mapping
from contextlib import suppress
from typing import NotRequired, TypedDict

from common import log

CONNECT_SECONDS = 5
# By it a client of Postgres asks for TLS.
SSL_REQUEST = struct.pack("!ii", 8, 80877103)


class Server(TypedDict):
    certificate: str
    host: str
    port: int
    name: str
    protocol: NotRequired[str]


class Certificates:
    """Their ends as they were last seen: a server that cannot be reached has others who say so."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self.servers: list[Server] = json.loads(environment["INTERNAL_SERVERS"])
        self.ca_file = environment["INTERNAL_CA_FILE"]
        self.ends: dict[str, float] = {}
        self.complaints: dict[str, str] = {}

    def round(self) -> None:
        # Not the default context: from 3.13 on it refuses authorities that the stack's own clients take.
        trusted = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        try:
            trusted.load_verify_locations(self.ca_file)
            self.keep('probe="internal-ca"', min(map(end, trusted.get_ca_certs())))
        except (OSError, ValueError) as error:
            self.complain("internal-ca", str(error))
            return
        self.complain("internal-ca", "")
        for server in self.servers:
            address = f"{server['host']}:{server['port']}"
            try:
                moment = end(shown_by(server, trusted))
            except (OSError, ValueError, KeyError) as error:
                self.complain(address, str(error))
                continue
            self.complain(address, "")
            self.keep(f'probe="{server["certificate"]}",server="{address}"', moment)

    def keep(self, labels: str, moment: float) -> None:
        # A new one: the other may be read at this moment.
        self.ends = self.ends | {labels: moment}

    def complain(self, subject: str, complaint: str) -> None:
        if complaint != self.complaints.get(subject, ""):
            log("error" if complaint else "info", f"{subject}: {complaint or 'can be looked at again'}")
        self.complaints[subject] = complaint

    def text(self) -> str:
        name = "probe_ssl_earliest_cert_expiry"
        lines = [
            f"# HELP {name} When the certificate ends, as it was last seen.",
            f"# TYPE {name} gauge",
            *(f"{name}{{{labels}}} {moment:.0f}" for labels, moment in sorted(self.ends.items())),
        ]
        return "\n".join(lines) + "\n"


def shown_by(server: Server, trusted: ssl.SSLContext) -> dict[str, object]:
    with socket.create_connection((server["host"], server["port"]), CONNECT_SECONDS) as plain:
        if server.get("protocol") == "postgres":
            plain.sendall(SSL_REQUEST)
            if plain.recv(1) != b"S":
                raise ConnectionError("it offers no TLS")
        with trusted.wrap_socket(plain, server_hostname=server["name"]) as tls:
            shown = tls.getpeercert() or {}
            # Otherwise it would log a connection that broke.
            with suppress(OSError):
                tls.unwrap()
            return shown


def end(certificate: Mapping[str, object]) -> float:
    return ssl.cert_time_to_seconds(str(certificate["notAfter"]))
