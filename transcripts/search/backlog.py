"""Index transcripts of older versions: without an entry, or with one by older rules.

An entry by older rules is found by the queries of its rule until it is rebuilt.
"""

import logging

from django.db import transaction

from transcripts import documents, storage
from transcripts.models import SearchEntry, Transcript
from transcripts.search import indexing, normalization

logger = logging.getLogger(__name__)

_SLICE = 50


def index_unindexed(*, limit: int) -> int:
    """Index up to ``limit`` transcripts without a current entry; return how many.

    Each slice is one transaction, so an interrupted run can continue.
    """
    done = 0
    for index_slice in (_index_slice, _rebuild_slice):
        while done < limit:
            indexed = index_slice(min(_SLICE, limit - done))
            done += indexed
            if indexed < _SLICE:
                break
    if done:
        logger.info("transcripts indexed", extra={"indexed": done})
    return done


def _rebuild_slice(size: int) -> int:
    """Rebuild entries of older rules, newest first because these are searched most."""
    with transaction.atomic():
        rows = SearchEntry.objects.filter(rule__lt=normalization.RULE).order_by("-pk")
        locked = rows.select_for_update(skip_locked=True, of=("self",))
        entries = list(locked.select_related("transcript__job").defer("search")[:size])
        for entry in entries:
            indexing.index_transcript(entry.transcript, entry.transcript.job)
    return len(entries)


def _index_slice(size: int) -> int:
    with transaction.atomic():
        rows = Transcript.objects.filter(is_indexed=False).order_by("pk")
        locked = rows.select_for_update(skip_locked=True, of=("self",))
        transcripts = list(locked.select_related("job")[:size])
        for transcript in transcripts:
            transcript.starts = transcript.starts or _read_starts(transcript)
            transcript.is_indexed = True
            transcript.save(update_fields=["starts", "is_indexed"])
            indexing.index_transcript(transcript, transcript.job)
    return len(transcripts)


def _read_starts(transcript: Transcript) -> bytes:
    """Return the starts from the document, or b"": search works without them."""
    try:
        summary = documents.parse_summary(storage.read_document(transcript))
    except (OSError, EOFError, ValueError):
        logger.warning(
            "word times unavailable", extra={"job_id": transcript.pk}, exc_info=True
        )
        return b""
    return summary.starts if summary else b""
