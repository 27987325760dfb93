"""Put transcripts where search finds them, as they are stored or afterwards.

Beside the words an entry's vector holds facts: whose it is, batch, mode, language,
metadata. Each is a word that no parser makes of text, so nobody can ask for another's.
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

# PostgreSQL takes a megabyte of vector, and knows no place past word 16,383: what
# comes after is found as words, each once, and never fails to be stored.
_WITH_PLACES = 150_000
_WITHOUT_PLACES = 100_000

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
    """Write the transcript's entry; twice is the same one.

    To be called in the transaction that stores the transcript.
    """
    language = search_languages.language_of(
        detected=transcript.language, options=job.options
    )
    head, tail = _parts(search_languages.prepare(transcript.text))
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
    """Return the word that says whose a transcript is."""
    return f"=t:{tenant_id.hex}"


def batch_fact(batch_id: UUID) -> str:
    """Return the word that says which batch it was of."""
    return f"=b:{batch_id.hex}"


def mode_fact(mode: str) -> str:
    """Return the word that says which door it came through."""
    return f"=m:{mode}"


def language_facts(language: str) -> list[str]:
    """Return the words that say its language: with its region, and without."""
    return [f"=l:{language}", f"=l:{search_languages.base_of(language)}"]


def day_fact(moment: datetime) -> str:
    """Return the word that says on which day, UTC, it was stored."""
    return f"=d:{moment.astimezone(UTC):%Y%m%d}"


def metadata_fact(key: str, value: str) -> str:
    """Return the word that stands for a pair; long ones are as short as any."""
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
    """Yield the values as PostgreSQL writes them, as lists of jobs compare them."""
    for key, value in metadata.items():
        match value:
            case bool():
                yield key, str(value).lower()
            case float():
                yield key, format(Decimal(repr(value)), "f")
            case _:
                yield key, str(value)


def _parts(text: str) -> tuple[str, str]:
    """Return what is indexed with the places of its words, and what without."""
    if len(text.encode()) <= _WITH_PLACES:
        return text, ""
    head = _cut(text, _WITH_PLACES)
    rest = dict.fromkeys(text[len(head) :].split())
    return head, _cut(" ".join(rest), _WITHOUT_PLACES)


def _cut(text: str, size: int) -> str:
    """Return the beginning of the text of at most so many bytes, whole words."""
    cut = text.encode()[:size].decode(errors="ignore")
    return cut if len(cut) == len(text) else cut.rpartition(" ")[0] or cut
