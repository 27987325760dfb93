"""Store paid results, whether or not the object storage is available.

Meanwhile a result stays in memory and in the spool. After FINISH_GRACE_SECONDS its
attempt becomes *unknown* and its job is queued again, without counting an attempt or a
crash: the next claim adopts the result if it has been stored by then. A process whose
storage is unavailable accepts no claims.
"""

import gzip
import logging
import secrets
import threading
import time
from datetime import datetime, timedelta

from django.conf import settings
from django.core.files.storage import default_storage
from django.db import DatabaseError, InterfaceError, connection, transaction

from jobs.calls import CallEnd, CallFacts, JobClaim, close_attempts, end_calls
from jobs.concurrency.group_commit import retry_while_unavailable
from jobs.models import Attempt, Job
from jobs.state import JobStatus
from transcripts import storage
from transcripts.outcomes import spool
from transcripts.outcomes.finishing import ClaimHolder

logger = logging.getLogger(__name__)

UNAVAILABLE = "storage_unavailable"
CHECK_SECONDS = 2.0
RETRY_SECONDS = 10
_is_unavailable = threading.Event()
_lock = threading.Lock()


def is_available() -> bool:
    """Return whether this process could store results lately."""
    return not _is_unavailable.is_set()


def store(job: Job, attempt: Attempt, raw: bytes, *, holder: ClaimHolder) -> str | None:
    """Store a document and return its name; None if that failed for too long."""
    name = storage.name_of_result(attempt)
    packed = gzip.compress(raw, compresslevel=1)
    give_up_at = time.monotonic() + settings.FINISH_GRACE_SECONDS
    is_spooled, wait = False, 0.1
    while True:
        try:
            storage.store_object(name, packed)
        except OSError:
            logger.warning("storage unavailable, a result waits", exc_info=True)
            report_unavailable()
            is_spooled = is_spooled or spool.put(name, packed)
            if time.monotonic() + wait > give_up_at:
                _give_up(job, attempt, holder=holder)
                return None
            time.sleep(wait)
            wait = min(5.0, wait * 2)
        else:
            if is_spooled:
                spool.remove(name)
            return name


def _give_up(job: Job, attempt: Attempt, *, holder: ClaimHolder) -> None:
    """Close the attempt as *unknown* and queue the job, without counting either."""
    facts = CallFacts(
        attempt=attempt, outcome=Attempt.Outcome.UNKNOWN, error_code=UNAVAILABLE
    )

    def commit(now: datetime) -> None:
        end = CallEnd(
            claim=JobClaim(job.pk, job.lease_token),
            status=JobStatus.QUEUED,
            cause=UNAVAILABLE,
            run_at=now + timedelta(seconds=RETRY_SECONDS),
            attempt=job.attempt - 1,
        )
        with transaction.atomic():
            close_attempts([facts], now=now)
            end_calls([end], at=now)

    grace = time.monotonic() + settings.FINISH_GRACE_SECONDS
    try:
        retry_while_unavailable(commit, give_up_at=grace)
    finally:
        holder.remove([job])


def report_unavailable() -> None:
    """Accept no claims until a check succeeds."""
    with _lock:
        if _is_unavailable.is_set():
            return
        _is_unavailable.set()
    threading.Thread(target=_check_until_available, name="storage", daemon=True).start()


def _check_until_available() -> None:
    while True:
        time.sleep(CHECK_SECONDS)
        try:
            spool.drain()
            _check_storage()
        except Exception:  # without this thread the process accepts no claims again
            logger.warning("storage still unavailable", exc_info=True)
            connection.close()
            continue
        break
    connection.close()
    _is_unavailable.clear()
    logger.info("storage available again")


def _check_storage() -> None:
    """Write and delete an object; raises OSError."""
    name = f"raw/check-{secrets.token_hex(8)}"
    storage.store_object(name, b"check")
    default_storage.delete(name)


def drain_spool() -> None:
    """Store what an earlier process left; accept no claims until that succeeds."""
    try:
        spool.drain()
    except (OSError, DatabaseError, InterfaceError):
        report_unavailable()
