"""Whether database and object storage accept writes. Redis: see ``regions``."""

import secrets
import threading
from concurrent.futures import Future, ThreadPoolExecutor

from django.core.files.storage import default_storage
from django.db import connection

from transcripts.storage import store_object
from workers.liveness import process_rows
from workers.monitoring.cached_reads import cached

STORAGE_SECONDS = 2.0


def is_database_writable() -> bool:
    """Return False for a standby, a read-only server, or failed writes of this process.

    Raises DatabaseError if the database is unavailable.
    """
    with connection.cursor() as cursor:
        cursor.execute("SHOW transaction_read_only")
        (is_read_only,) = cursor.fetchone()
    return is_read_only == "off" and process_rows.has_announced()


class StorageCheck:
    """Stores and deletes a small object, in a thread, because S3 or NFS may hang."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(1, thread_name_prefix="storage-check")
        self._lock = threading.Lock()
        self._running: Future[None] | None = None

    def is_available(self) -> bool:
        """Return whether the storage takes an object within STORAGE_SECONDS."""
        with self._lock:
            if self._running is None or self._running.done():
                self._running = self._threads.submit(_store_and_delete)
            running = self._running
        try:
            running.result(timeout=STORAGE_SECONDS)
        except (OSError, TimeoutError):
            return False
        return True


def _store_and_delete() -> None:
    name = store_object(f"raw/check-{secrets.token_hex(8)}", b"check")
    default_storage.delete(name)


_check = StorageCheck()


@cached(5)
def is_storage_available() -> bool:
    """Return whether the object storage takes objects; checked every five seconds."""
    return _check.is_available()
