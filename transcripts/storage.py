"""Transcript documents in object storage, and commits that outlive an outage."""

import gzip
import json
import logging
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from typing import Any

from django.conf import settings
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.db import InterfaceError, OperationalError, connection
from django.utils import timezone

from jobs.models import Attempt, Job
from transcripts.models import Transcript

logger = logging.getLogger(__name__)


def store_raw(job: Job, attempt: Attempt, raw: bytes) -> str:
    """Store the upstream document unchanged, gzipped; return its storage name."""
    packed = gzip.compress(raw, compresslevel=1)
    name = f"raw/{job.tenant_id}/{job.pk}/{attempt.pk}.json.gz"
    return default_storage.save(name, ContentFile(packed))


def read_raw(transcript: Transcript) -> bytes:
    """Return the document exactly as the upstream sent it."""
    with default_storage.open(transcript.raw) as packed:
        return gzip.decompress(packed.read())


def read_document(transcript: Transcript) -> dict[str, Any]:
    """Return the parsed upstream document."""
    document: dict[str, Any] = json.loads(read_raw(transcript))
    return document


def commit_with_retries(commit: Callable[[datetime], object]) -> None:
    """Commit the outcome of a paid call; retry while database or storage is down.

    Retries for FINISH_GRACE_SECONDS, even past the end of the lease: only a newer
    claim voids the result.
    """
    give_up = time.monotonic() + settings.FINISH_GRACE_SECONDS
    wait = 0.1
    while True:
        try:
            commit(timezone.now())
        except (OperationalError, InterfaceError, OSError):
            if connection.in_atomic_block or time.monotonic() + wait > give_up:
                raise
            logger.warning(
                "database or storage unavailable, retrying commit", exc_info=True
            )
            with suppress(Exception):
                connection.close()
            time.sleep(wait)
            wait = min(5.0, wait * 2)
        else:
            return
