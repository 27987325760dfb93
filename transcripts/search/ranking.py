"""Find a tenant's transcripts by what was said in them, best first.

Three steps, each bounded. The index gives the transcripts that have the words and the
facts, first of the last days and, where those are not enough, of all; of these the
newest ``RANKED`` are held against the query to the letter (phrases, each by the rules
of its language) and ranked; a page of them is read. So a word that half the transcripts
have costs as much as a rare one, and old ones of it are only found once a date narrows
the search: ``is_capped`` says so.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any
from uuid import UUID

from django.db import OperationalError, connection, transaction

from jobs.concurrency import statement_limits
from jobs.models import Tenant
from transcripts.search import indexing
from transcripts.search import rules as search_rules
from transcripts.search.rules import ConfigQuery
from transcripts.search.words import Groups, NotSearchable

RANKED = 500
# A search of a million transcripts takes a tenth of a second.
STATEMENT_SECONDS = 5.0
# So many of the newest transcripts are looked through before all are: enough for words
# that are in an eighth of them. More days than this have few transcripts each.
_RECENT = 4000
_MOST_DAYS = 62

# Only the index knows a condition's rows without reading their vectors; the planner
# takes those for free, and would rather read them all than fetch half of them.
_BY_INDEX = """
SELECT set_config('enable_seqscan', 'off', true),
  set_config('enable_indexscan', 'off', true), set_config('jit', 'off', true),
  set_config('statement_timeout', %(most)s, true)
"""
# Which configurations a tenant's transcripts went through, a look-up each.
_CONFIGS = """
WITH RECURSIVE known AS (
  (SELECT config FROM transcripts_searchentry WHERE tenant_id = %(tenant)s
   ORDER BY config LIMIT 1)
  UNION ALL
  SELECT (SELECT config FROM transcripts_searchentry
          WHERE tenant_id = %(tenant)s AND config > known.config
          ORDER BY config LIMIT 1)
  FROM known WHERE known.config IS NOT NULL)
SELECT config FROM known WHERE config IS NOT NULL
"""
_RANK = """
WITH hits AS MATERIALIZED (
  SELECT * FROM (
    SELECT transcript_id FROM transcripts_searchentry
    WHERE search @@ %(loose)s::tsquery AND created_at <= %(as_of)s {ranges}
    OFFSET 0) AS found
  ORDER BY transcript_id DESC LIMIT %(ranked)s + 1),
ranked AS MATERIALIZED (
  SELECT transcript_id, ts_rank(search, {query}, 1)::float8 AS rank
  FROM transcripts_searchentry
  WHERE transcript_id = ANY (ARRAY(SELECT transcript_id FROM hits LIMIT CASE
      WHEN %(whole)s OR (SELECT count(*) FROM hits) > %(ranked)s THEN %(ranked)s
      ELSE 0 END))
    AND tenant_id = %(tenant)s AND search @@ {query})
SELECT (SELECT count(*) FROM hits), page.* FROM (SELECT 1) AS always LEFT JOIN (
  SELECT transcript_id, rank FROM ranked
  WHERE %(after)s::uuid IS NULL OR (rank, transcript_id) < (%(rank)s, %(after)s)
  ORDER BY rank DESC, transcript_id DESC LIMIT %(limit)s + 1) AS page ON true
ORDER BY rank DESC, transcript_id DESC
"""
_BOUNDARY = """
SELECT created_at FROM transcripts_searchentry WHERE tenant_id = %(tenant)s
ORDER BY transcript_id DESC OFFSET %(recent)s LIMIT 1
"""
_NEWEST = """
SELECT transcript_id FROM transcripts_searchentry
WHERE tenant_id = %(tenant)s {ranges}
ORDER BY transcript_id DESC LIMIT %(limit)s + 1
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchFilters:
    """Which transcripts are wanted; what is empty does not restrict."""

    words: Groups = field(default_factory=list)
    batch_id: UUID | None = None
    mode: str = ""
    language: str = ""
    created_after: datetime | None = None
    created_before: datetime | None = None
    min_confidence: float | None = None
    metadata: dict[str, str] = field(default_factory=dict)

    @property
    def facts(self) -> list[str]:
        """What must be among an entry's words, as well as its tenant."""
        found = [indexing.metadata_fact(*pair) for pair in self.metadata.items()]
        if self.batch_id:
            found.append(indexing.batch_fact(self.batch_id))
        if self.mode:
            found.append(indexing.mode_fact(self.mode))
        if self.language:
            found.append(f"=l:{self.language}")
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchPosition:
    """Where a page begins: after this hit, among what was there at that time."""

    as_of: datetime
    rank: float = 0.0
    after: UUID | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Hit:
    """A transcript that has the words; without any its rank is 0."""

    transcript_id: UUID
    rank: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchPage:
    """A page of hits; ``is_capped`` where there may be older ones nobody looked at."""

    hits: list[Hit]
    has_more: bool
    is_capped: bool = False
    queries: list[ConfigQuery] = field(default_factory=list)


def find_page(
    *, tenant: Tenant, wanted: SearchFilters, position: SearchPosition, limit: int
) -> SearchPage:
    """Return a page of the tenant's transcripts: best first, or newest without words.

    Raises NotSearchable where no word is left to look for, or it would take too long.
    """
    find = _find_best if wanted.words else _find_newest
    try:
        with statement_limits.slow_statement_slot(tenant.pk):
            return find(tenant=tenant, wanted=wanted, position=position, limit=limit)
    except OperationalError as error:
        if not statement_limits.is_timeout(error):
            raise
        message = "This search takes too long: add a date, or search for fewer words."
        raise NotSearchable(message, code="query_too_expensive") from error


def _find_best(
    *, tenant: Tenant, wanted: SearchFilters, position: SearchPosition, limit: int
) -> SearchPage:
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(_CONFIGS, {"tenant": tenant.pk})
        configs = [row[0] for row in cursor.fetchall()]
        queries = search_rules.write_queries(
            cursor, words=wanted.words, configs=configs
        )
        days = _recent_days(tenant, wanted, position)
        if not queries:
            return SearchPage(hits=[], has_more=False)
        ranges, values = _ranges(wanted)
        query, exact = _by_config(queries)
        values |= exact | {
            "tenant": tenant.pk,
            "as_of": position.as_of,
            "ranked": RANKED,
            "rank": position.rank,
            "after": position.after,
            "limit": limit,
        }
        most = statement_limits.as_setting(STATEMENT_SECONDS)
        cursor.execute(_BY_INDEX, {"most": most})
        sql = _RANK.format(ranges=ranges, query=query)
        number, rows = 0, []
        for some in (days, []) if days else ([],):
            loose = _condition(tenant, wanted, queries, some)
            cursor.execute(sql, values | {"loose": loose, "whole": not some})
            found = cursor.fetchall()
            number, rows = found[0][0], [row[1:] for row in found if row[1]]
            if number > RANKED:
                break
    return SearchPage(
        hits=[Hit(transcript_id=row[0], rank=row[1]) for row in rows[:limit]],
        has_more=len(rows) > limit,
        is_capped=number > RANKED,
        queries=queries,
    )


def _find_newest(
    *, tenant: Tenant, wanted: SearchFilters, position: SearchPosition, limit: int
) -> SearchPage:
    ranges, values = _ranges(wanted)
    values |= {"tenant": tenant.pk, "after": position.after, "limit": limit}
    if wanted.facts:
        ranges += " AND search @@ %(facts)s::tsquery"
        values["facts"] = _condition(tenant, wanted, [])
    if position.after:
        ranges += " AND transcript_id < %(after)s"
    with connection.cursor() as cursor:
        cursor.execute(_NEWEST.format(ranges=ranges), values)
        rows = cursor.fetchall()
    hits = [Hit(transcript_id=row[0]) for row in rows[:limit]]
    return SearchPage(hits=hits, has_more=len(rows) > limit)


@lru_cache(maxsize=1000)
def _find_boundary(
    tenant: UUID,
    *,
    recent: int,
    minute: int,  # noqa: ARG001  so old it may be: it saves work, and decides nothing
) -> datetime | None:
    """Return when the tenant's ``recent``-th newest transcript came, or None."""
    with connection.cursor() as cursor:
        cursor.execute(_BOUNDARY, {"tenant": tenant, "recent": recent})
        found: tuple[datetime] | None = cursor.fetchone()
    return found[0] if found else None


def _recent_days(
    tenant: Tenant, wanted: SearchFilters, position: SearchPosition
) -> list[str]:
    """Return the days of the tenant's newest transcripts, or none: look at all.

    All is little where there are few, or where they are spread over many days.
    """
    if wanted.created_before:
        return []
    minute = int(time.monotonic() // 60)
    first = _find_boundary(tenant.pk, recent=_RECENT, minute=minute)
    if first is None:
        return []
    days = (position.as_of.date() - first.date()).days + 1
    if not 0 < days <= _MOST_DAYS:
        return []
    return [indexing.day_fact(first + timedelta(days=day)) for day in range(days)]


def _condition(
    tenant: Tenant,
    wanted: SearchFilters,
    queries: Sequence[ConfigQuery],
    days: Sequence[str] = (),
) -> str:
    """Return what the index is asked: whose, which facts, which words."""
    facts = [f"'{fact}'" for fact in (indexing.tenant_fact(tenant.pk), *wanted.facts)]
    loose = list(dict.fromkeys(f"({query.loose})" for query in queries))
    dates = [f"'{day}'" for day in days]
    either = [f"({' | '.join(some)})" for some in (dates, loose) if some]
    return " & ".join(facts + either)


def _by_config(queries: Sequence[ConfigQuery]) -> tuple[str, dict[str, str]]:
    """Return an expression for the query that an entry is held against."""
    values: dict[str, str] = {}
    cases = []
    for number, query in enumerate(queries):
        values |= {f"config_{number}": query.config, f"exact_{number}": query.exact}
        cases.append(f"WHEN %(config_{number})s THEN %(exact_{number})s::tsquery")
    return f"(CASE config {' '.join(cases)} END)", values


def _ranges(wanted: SearchFilters) -> tuple[str, dict[str, Any]]:
    bounds = {
        "created_at >= %(created_after)s": wanted.created_after,
        "created_at < %(created_before)s": wanted.created_before,
        "confidence >= %(min_confidence)s": wanted.min_confidence,
    }
    sql = "".join(f" AND {rule}" for rule, bound in bounds.items() if bound is not None)
    return sql, {
        "created_after": wanted.created_after,
        "created_before": wanted.created_before,
        "min_confidence": wanted.min_confidence,
    }
