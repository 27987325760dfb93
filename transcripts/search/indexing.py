"""Write the search entry of a transcript.

Besides the words, the vector holds filter tokens: tenant, batch, mode, language, day
and metadata. The parser never produces such tokens from text, so queries cannot forge
them.
"""

import hashlib
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.db import connection

from jobs.models import Job
from transcripts.models import Transcript
from transcripts.search import languages as search_languages

# Bytes of text. A PostgreSQL vector has at most 1 MB and no positions past word 16,383:
# the rest of the text is indexed as distinct words without positions.
_WITH_POSITIONS = 150_000
_WITHOUT_POSITIONS = 100_000

_INSERT = """
INSERT INTO transcripts_searchentry
  (transcript_id, tenant_id, created_at, confidence, config, search)
VALUES (%(transcript)s, %(tenant)s, %(created_at)s, %(confidence)s, %(config)s,
  to_tsvector(%(config)s::regconfig, %(head)s)
  || strip(to_tsvector(%(config)s::regconfig, %(tail)s))
  || array_to_tsvector(%(facts)s::text[]))
ON CONFLICT DO NOTHING
"""


def index_transcript(transcript: Transcript, job: Job) -> None:
    """Write the entry of the transcript, if it has none.

    Call it in the transaction that stores the transcript.
    """
    language = search_languages.language_of(
        detected=transcript.language, options=job.options
    )
    head, tail = _split_text(search_languages.prepare(transcript.text))
    values = {
        "transcript": transcript.pk,
        "tenant": job.tenant_id,
        "created_at": transcript.created_at,
        "confidence": transcript.confidence,
        "config": search_languages.config_of(language),
        "head": head,
        "tail": tail,
        "facts": sorted(
            {
                *_facts(job),
                *language_facts(language),
                day_fact(transcript.created_at),
            }
        ),
    }
    with connection.cursor() as cursor:
        cursor.execute(_INSERT, values)


def tenant_fact(tenant_id: UUID) -> str:
    """Return the filter token of a tenant."""
    return f"=t:{tenant_id.hex}"


def batch_fact(batch_id: UUID) -> str:
    """Return the filter token of a batch."""
    return f"=b:{batch_id.hex}"


def mode_fact(mode: str) -> str:
    """Return the filter token of a mode."""
    return f"=m:{mode}"


def language_facts(language: str) -> list[str]:
    """Return the filter tokens of a language, with and without its region."""
    return [f"=l:{language}", f"=l:{search_languages.base_of(language)}"]


def day_fact(moment: datetime) -> str:
    """Return the filter token of a day (UTC)."""
    return f"=d:{moment.astimezone(UTC):%Y%m%d}"


def metadata_fact(key: str, value: str) -> str:
    """Return the filter token of a metadata pair, of fixed length."""
    pair = f"{len(key)}:{key}={value}".encode()
    return f"=k:{hashlib.sha256(pair).hexdigest()[:24]}"


def _facts(job: Job) -> Iterator[str]:
    yield tenant_fact(job.tenant_id)
    yield mode_fact(job.mode)
    if job.batch_id:
        yield batch_fact(job.batch_id)
    for key, value in _texts(job.metadata):
        yield metadata_fact(key, value)


def _texts(metadata: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the values as PostgreSQL prints them, as the filter of job lists does."""
    for key, value in metadata.items():
        match value:
            case bool():
                yield key, str(value).lower()
            case float():
                yield key, format(Decimal(repr(value)), "f")
            case _:
                yield key, str(value)


def _split_text(text: str) -> tuple[str, str]:
    """Return the text to index with positions, and the words to index without."""
    if len(text.encode()) <= _WITH_POSITIONS:
        return text, ""
    head = _cut(text, _WITH_POSITIONS)
    rest = dict.fromkeys(text[len(head) :].split())
    return head, _cut(" ".join(rest), _WITHOUT_POSITIONS)


def _cut(text: str, size: int) -> str:
    """Return the beginning of the text in whole words, at most ``size`` bytes."""
    cut = text.encode()[:size].decode(errors="ignore")
    return cut if len(cut) == len(text) else cut.rpartition(" ")[0] or cut
