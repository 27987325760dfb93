"""Records submissions on this machine, so that a repeated command uploads nothing.

Optional: without it a file is uploaded again, but the platform recognizes its
Idempotency-Key and does not transcribe it again.
"""

import hashlib
import sqlite3
import threading
import time
from pathlib import Path

from transcribe_platform.client import Client

_MAX_AGE_SECONDS = 7 * 24 * 3600
# The content of a URL may change; the platform uses the same limit.
URL_SECONDS = 24 * 3600
_SCHEMA = """
CREATE TABLE IF NOT EXISTS submitted (
  account TEXT, key TEXT, job_id TEXT, at REAL, PRIMARY KEY (account, key)
) WITHOUT ROWID
"""


class SubmissionJournal:
    """Job ids of one account by Idempotency-Key. Safe for threads and processes."""

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
                "DELETE FROM submitted WHERE at < ?", [time.time() - _MAX_AGE_SECONDS]
            )
        except (OSError, sqlite3.Error):  # the home folder is not writable
            self._database = sqlite3.connect(":memory:", check_same_thread=False)
            self._database.execute(_SCHEMA)

    def find(self, key: str, *, younger_than: float = _MAX_AGE_SECONDS) -> str | None:
        """Return the id submitted with this key, if any."""
        with self._lock:
            row = self._database.execute(
                "SELECT job_id FROM submitted WHERE account = ? AND key = ? AND at > ?",
                [self._account, key, time.time() - younger_than],
            ).fetchone()
        return str(row[0]) if row else None

    def record(self, key: str, job_id: str) -> None:
        """Record the id of a job or batch."""
        with self._lock:
            self._database.execute(
                "INSERT OR REPLACE INTO submitted VALUES (?, ?, ?, ?)",
                [self._account, key, job_id, time.time()],
            )
