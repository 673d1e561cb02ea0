"""
Whether the vault answers. While it does not, pods that run keep what they have mounted and nothing is seen to fail; but none can
start, and no new version of a secret arrives.
"""

import ssl
from collections.abc import Mapping
from http.client import HTTPException, HTTPSConnection
from urllib.parse import urlsplit

from common import log

ANSWER_SECONDS = 5
# Without a token this is refused by 401, before anything is looked up.
QUESTION = "/secrets?api-version=7.4"


class Vault:
    """How the last question ended; nothing is told before there was one."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self.address = urlsplit(environment["VAULT_URL"]).netloc
        self.answers: bool | None = None
        self.complaint = ""

    def round(self) -> None:
        complaint = ""
        try:
            status = self.ask()
            if status != 401:
                complaint = f"it answered {status} where a token is asked for by 401"
        except (OSError, HTTPException) as error:
            complaint = str(error) or type(error).__name__
        self.answers = not complaint
        if complaint != self.complaint:
            log("error" if complaint else "info", f"{self.address}: {complaint or 'the vault answers again'}")
        self.complaint = complaint

    def ask(self) -> int:
        connection = HTTPSConnection(self.address, timeout=ANSWER_SECONDS, context=ssl.create_default_context())
        try:
            connection.request("GET", QUESTION)
            return connection.getresponse().status
        finally:
            connection.close()

    def text(self) -> str:
        if self.answers is None:
            return ""
        name = "groundwork_vault_up"
        return f"# HELP {name} Whether the vault answered when it was last asked.\n# TYPE {name} gauge\n{name} {int(self.answers)}\n"
