"""
The mounted passwords of the accounts that are named, and of their deputies, as Postgres keeps them: JSON, file name → SCRAM
verifier (RFC 5803), null where no password is mounted.

What is sent to the server may end up in its log and in pg_stat_statements, for others to read; nobody signs in by a verifier.
"""

import hashlib
import hmac
import json
import os
import sys
from base64 import b64encode
from pathlib import Path

SECRETS = Path("/run/secrets/groundwork")
# Postgres' own default.
ITERATIONS = 4096


def verifier(password: bytes) -> str:
    salt = os.urandom(16)
    salted = hashlib.pbkdf2_hmac("sha256", password, salt, ITERATIONS)
    stored_key = hashlib.sha256(hmac.digest(salted, b"Client Key", "sha256")).digest()
    server_key = hmac.digest(salted, b"Server Key", "sha256")
    in_base64 = [b64encode(part).decode() for part in (salt, stored_key, server_key)]
    return "SCRAM-SHA-256${}:{}${}:{}".format(ITERATIONS, *in_base64)


def mounted(file: str) -> str | None:
    try:
        password = (SECRETS / file).read_text().rstrip("\n")
    except FileNotFoundError:
        return None
    # Letters beyond ASCII would have to be prepared before (SASLprep).
    return verifier(password.encode("ascii")) if password else None


files = [f"{account}-password{suffix}" for account in sys.argv[1:] for suffix in ("", "-2")]
print(json.dumps({file: mounted(file) for file in files}))
