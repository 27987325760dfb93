"""What was submitted from this machine: a repeated command uploads nothing twice.

A help and no more: without it the platform knows the Idempotency-Key, and a file is
sent again but not paid for again.
"""

import hashlib
import sqlite3
import threading
import time
from pathlib import Path

from transcribe_platform.client import Client

_KEPT_SECONDS = 7 * 24 * 3600
# What is at a URL may be something else tomorrow, as the platform sees it too.
URL_SECONDS = 24 * 3600
_SCHEMA = """
CREATE TABLE IF NOT EXISTS submitted (
  account TEXT, key TEXT, job_id TEXT, at REAL, PRIMARY KEY (account, key)
) WITHOUT ROWID
"""


class Journal:
    """The jobs of one account by Idempotency-Key. Safe for threads and processes."""

    def __init__(self, folder: Path, client: Client) -> None:
        transport = client.transport
        account = f"{transport.url}\n{transport.api_key}"
        self._account = hashlib.sha256(account.encode()).hexdigest()
        self._lock = threading.Lock()
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._database = sqlite3.connect(
                folder / "journal.sqlite3",
                timeout=30,
                isolation_level=None,
                check_same_thread=False,
            )
            self._database.execute("PRAGMA journal_mode=WAL")
            self._database.execute("PRAGMA synchronous=NORMAL")
            self._database.execute(_SCHEMA)
            self._database.execute(
                "DELETE FROM submitted WHERE at < ?", [time.time() - _KEPT_SECONDS]
            )
        except (OSError, sqlite3.Error):  # a home that cannot be written to
            self._database = sqlite3.connect(":memory:", check_same_thread=False)
            self._database.execute(_SCHEMA)

    def find(self, key: str, *, younger_than: float = _KEPT_SECONDS) -> str | None:
        """Return the job that was submitted under the key."""
        with self._lock:
            row = self._database.execute(
                "SELECT job_id FROM submitted WHERE account = ? AND key = ? AND at > ?",
                [self._account, key, time.time() - younger_than],
            ).fetchone()
        return str(row[0]) if row else None

    def keep(self, key: str, job_id: str) -> None:
        """Write down a job."""
        with self._lock:
            self._database.execute(
                "INSERT OR REPLACE INTO submitted VALUES (?, ?, ?, ?)",
                [self._account, key, job_id, time.time()],
            )
