"""Whether database, object storage and uploads accept writes. Redis: ``regions``."""

import secrets
import tempfile
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import datetime

from django.conf import settings
from django.core.files.storage import default_storage
from django.db import connection

from transcripts.outcomes import result_storage
from transcripts.storage import store_object
from workers import metrics
from workers.liveness import process_rows
from workers.monitoring.cached_reads import cached

STORAGE_SECONDS = 2.0
BLOCK_BYTES = 4096


def is_database_writable() -> bool:
    """Return False for a standby, a read-only server, or failed writes of this process.

    Raises DatabaseError if the database is unavailable.
    """
    with connection.cursor() as cursor:
        cursor.execute("SHOW transaction_read_only")
        (is_read_only,) = cursor.fetchone()
    return is_read_only == "off" and process_rows.has_announced()


def read_clock() -> datetime:
    """Return the database's time: heartbeats have it, whatever clock a host has.

    Raises DatabaseError.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT statement_timestamp()")
        (now,) = cursor.fetchone()
    return now  # type: ignore[no-any-return]


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


def can_store_uploads() -> bool:
    """Return whether the folder of incoming uploads takes a block."""
    folder = settings.INCOMING_ROOT
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(bytes(BLOCK_BYTES))
    except OSError:
        return False
    return True


def report_uploads() -> None:
    """Let the metric of this web process include its folder of incoming uploads."""
    metrics.STORAGE.set_function(
        lambda: result_storage.is_available() and can_store_uploads()
    )
