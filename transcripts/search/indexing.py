"""Write the search entry of a transcript.

Besides the words, the vector holds filter tokens: tenant, batch, mode, language, day
and metadata. The parser never produces such tokens from text, so queries cannot forge
them.
"""

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from jobs.models import Job, prepared_statements
from transcripts.models import SearchEntry, Transcript
from transcripts.search import languages as search_languages
from transcripts.search import normalization

# Bytes of words. A PostgreSQL vector has at most 1 MB and no positions past word
# 16,383: the rest of the text is indexed as distinct words without positions.
_WITH_POSITIONS = 150_000
_WITHOUT_POSITIONS = 100_000

# PostgreSQL's limits of a vector: the highest position, and positions of one word.
_MAX_POSITION = 16_383
_MAX_POSITIONS = 255

# Other forms of words have their word's position and the weight C, so that exact words
# rank first. As text, because || would move the positions of the second vector.
_UPSERT = """
INSERT INTO transcripts_searchentry
  (transcript_id, tenant_id, created_at, confidence, config, rule, search)
VALUES (%(transcript)s, %(tenant)s, %(created_at)s, %(confidence)s, %(config)s::text,
  %(rule)s,
  (to_tsvector(%(config)s::text::regconfig, %(head)s)::text || ' ' || coalesce((
    SELECT string_agg('''' || word || ''':' || places, ' ')
    FROM json_each_text(%(forms)s::json) AS form (text, places),
      unnest(tsvector_to_array(to_tsvector(%(config)s::text::regconfig, text))) AS word
  ), ''))::tsvector
  || strip(to_tsvector(%(config)s::text::regconfig, %(tail)s))
  || array_to_tsvector(%(facts)s::text[]))
ON CONFLICT (transcript_id) DO UPDATE
  SET config = excluded.config, rule = excluded.rule, search = excluded.search
  WHERE transcripts_searchentry.rule < excluded.rule
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexedText:
    """The words of a text as PostgreSQL gets them, separated by spaces.

    ``head`` is indexed with positions, ``tail`` without. ``forms`` are other forms of
    the words of the head, each with its positions, such as ``3C,17C``.
    """

    head: str
    tail: str
    forms: dict[str, str]


def build_text(text: str) -> IndexedText:
    """Split a text into the words to index."""
    segments = normalization.segment(text)
    number = _count_fitting([each.text for each in segments], _WITH_POSITIONS)
    places: dict[str, list[int]] = defaultdict(list)
    for position, each in enumerate(segments[:number], start=1):
        for other in each.others:
            places[other].append(min(position, _MAX_POSITION))
    forms = list(places)
    rest = dict.fromkeys(
        word for each in segments[number:] for word in (each.text, *each.others)
    )
    tail = list(rest)
    return IndexedText(
        head=" ".join(each.text for each in segments[:number]),
        tail=" ".join(tail[: _count_fitting(tail, _WITHOUT_POSITIONS)]),
        forms={
            form: ",".join(f"{place}C" for place in places[form][:_MAX_POSITIONS])
            for form in forms[: _count_fitting(forms, _WITHOUT_POSITIONS)]
        },
    )


def _count_fitting(words: Sequence[str], size: int) -> int:
    """Return how many of the words fit in this many bytes, with a space each."""
    if 4 * sum(map(len, words)) + len(words) <= size:
        return len(words)
    number = 0
    for word in words:
        size -= len(word.encode()) + 1
        if size < 0:
            break
        number += 1
    return number


def index_transcript(transcript: Transcript, job: Job) -> None:
    """Write the entry of the transcript, unless it has one by the current rules.

    Call it in the transaction that stores the transcript.
    """
    prepared_statements.fetch(*build_entry(transcript, job))


def build_entry(transcript: Transcript, job: Job) -> prepared_statements.Statement:
    """Return the statement of ``index_transcript``."""
    language = search_languages.language_of(
        detected=transcript.language, options=job.options
    )
    text = build_text(transcript.text)
    values = {
        "transcript": transcript.pk,
        "tenant": job.tenant_id,
        "created_at": transcript.created_at,
        "confidence": transcript.confidence,
        "config": search_languages.config_of(language),
        "rule": normalization.RULE,
        "head": text.head,
        "tail": text.tail,
        "forms": json.dumps(text.forms),
        "facts": sorted(
            {
                *_facts(job),
                *language_facts(language),
                day_fact(transcript.created_at),
            }
        ),
    }
    return _UPSERT, values


def reindex_job(job: Job) -> None:
    """Write the entry of the job's transcript again, if it has one."""
    entries = SearchEntry.objects.filter(transcript=job.pk)
    entries.delete()
    if transcript := Transcript.objects.filter(pk=job.pk).first():
        index_transcript(transcript, job)


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
