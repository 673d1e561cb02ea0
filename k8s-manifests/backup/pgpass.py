"""How libpq gets its passwords: from a file, so that they stand in no environment and no process list."""

import os

from common import SCRATCH, SECRETS


def write_pgpass(users: dict[str, str]) -> None:
    """User → file of its password below the secrets; `*` is everyone."""
    path = SCRATCH / "pgpass"
    path.unlink(missing_ok=True)
    with open(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w") as file:
        for user, secret in users.items():
            password = (SECRETS / secret).read_text().strip()
            escaped = password.replace("\\", "\\\\").replace(":", "\\:")
            file.write(f"*:*:*:{user}:{escaped}\n")
    os.environ["PGPASSFILE"] = str(path)
