"""Search a tenant's transcripts, best first.

Three bounded steps:

1. The index returns the transcripts with the words and filter tokens: first those of
   recent days, then all if these are too few.
2. The newest ``RANKED`` of them are compared with the exact query (phrases, by the
   rules of each language) and ranked.
3. One page is read.

So a word of half the transcripts costs as much as a rare one. Its older hits are found
only if a date narrows the search; ``is_capped`` reports that.
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
from transcripts.search import indexing, normalization
from transcripts.search import rules as search_rules
from transcripts.search.query_language import Groups, NotSearchable
from transcripts.search.rules import ConfigQuery

RANKED = 500
# Searching a million transcripts takes about 0.1 s.
STATEMENT_SECONDS = 5.0
# The newest transcripts that are searched before all: enough for words that occur in an
# eighth of them. If they span more days than this, all are searched at once.
_RECENT = 4000
_MOST_DAYS = 62

# Forces the GIN index: the planner ignores the cost of reading the vectors and would
# prefer a sequential scan for frequent words.
_FORCE_INDEX = """
SELECT set_config('enable_seqscan', 'off', true),
  set_config('enable_indexscan', 'off', true), set_config('jit', 'off', true),
  set_config('statement_timeout', %(timeout)s, true)
"""
# The configurations of a tenant's transcripts, one index lookup each.
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
  SELECT transcript_id,
    ts_rank('{{0.1, 0.05, 0.4, 1}}', search, {query}, 1)::float8 AS rank
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
# Entries that are not rebuilt yet, by a partial index.
_HAS_OLDER = """
SELECT EXISTS (SELECT FROM transcripts_searchentry WHERE rule < 2)
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
    """The filters of a search; an empty one matches all."""

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
        """The required filter tokens besides the tenant's."""
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
    """The start of a page: after this hit, among transcripts up to ``as_of``."""

    as_of: datetime
    rank: float = 0.0
    after: UUID | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Hit:
    """A matching transcript; its rank is 0 in a search without words."""

    transcript_id: UUID
    rank: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchPage:
    """A page of hits; ``is_capped`` if older transcripts were not searched."""

    hits: list[Hit]
    has_more: bool
    is_capped: bool = False
    queries: list[ConfigQuery] = field(default_factory=list)


def find_page(
    *, tenant: Tenant, filters: SearchFilters, position: SearchPosition, limit: int
) -> SearchPage:
    """Return a page of the tenant's transcripts: best first, or newest without words.

    Raises NotSearchable for a query of stop words only, or one that takes too long.
    """
    find = _find_best if filters.words else _find_newest
    try:
        with statement_limits.slow_statement_slot(tenant.pk):
            return find(tenant=tenant, filters=filters, position=position, limit=limit)
    except OperationalError as error:
        if not statement_limits.is_timeout(error):
            raise
        message = "The search takes too long. Add a date filter or use fewer words."
        raise NotSearchable(message, code="query_too_expensive") from error


def _find_best(
    *, tenant: Tenant, filters: SearchFilters, position: SearchPosition, limit: int
) -> SearchPage:
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(_CONFIGS, {"tenant": tenant.pk})
        configs = [row[0] for row in cursor.fetchall()]
        cursor.execute(_HAS_OLDER)
        (has_older,) = cursor.fetchone()
        queries = search_rules.build_queries(
            cursor,
            words=filters.words,
            configs=configs,
            rules=[1, normalization.RULE] if has_older else [normalization.RULE],
        )
        days = _find_recent_days(tenant, filters, position)
        if not queries:
            return SearchPage(hits=[], has_more=False)
        ranges, values = _build_ranges(filters)
        query, exact = _build_case(queries)
        values |= exact | {
            "tenant": tenant.pk,
            "as_of": position.as_of,
            "ranked": RANKED,
            "rank": position.rank,
            "after": position.after,
            "limit": limit,
        }
        timeout = statement_limits.as_setting(STATEMENT_SECONDS)
        cursor.execute(_FORCE_INDEX, {"timeout": timeout})
        sql = _RANK.format(ranges=ranges, query=query)
        number, rows = 0, []
        for selected in (days, []) if days else ([],):
            loose = _build_condition(tenant, filters, queries, selected)
            cursor.execute(sql, values | {"loose": loose, "whole": not selected})
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
    *, tenant: Tenant, filters: SearchFilters, position: SearchPosition, limit: int
) -> SearchPage:
    ranges, values = _build_ranges(filters)
    values |= {"tenant": tenant.pk, "after": position.after, "limit": limit}
    if filters.facts:
        ranges += " AND search @@ %(facts)s::tsquery"
        values["facts"] = _build_condition(tenant, filters, [])
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
    minute: int,  # noqa: ARG001  expires the cache entry
) -> datetime | None:
    """Return the time of the tenant's ``recent``-th newest transcript, or None."""
    with connection.cursor() as cursor:
        cursor.execute(_BOUNDARY, {"tenant": tenant, "recent": recent})
        found: tuple[datetime] | None = cursor.fetchone()
    return found[0] if found else None


def _find_recent_days(
    tenant: Tenant, filters: SearchFilters, position: SearchPosition
) -> list[str]:
    """Return the days of the tenant's newest transcripts; empty to search all.

    All are searched if there are few, or if they are spread over many days.
    """
    if filters.created_before:
        return []
    minute = int(time.monotonic() // 60)
    first = _find_boundary(tenant.pk, recent=_RECENT, minute=minute)
    if first is None:
        return []
    days = (position.as_of.date() - first.date()).days + 1
    if not 0 < days <= _MOST_DAYS:
        return []
    return [indexing.day_fact(first + timedelta(days=day)) for day in range(days)]


def _build_condition(
    tenant: Tenant,
    filters: SearchFilters,
    queries: Sequence[ConfigQuery],
    days: Sequence[str] = (),
) -> str:
    """Return the index condition: tenant, filter tokens, words."""
    facts = [f"'{fact}'" for fact in (indexing.tenant_fact(tenant.pk), *filters.facts)]
    loose = list(dict.fromkeys(f"({query.loose})" for query in queries))
    dates = [f"'{day}'" for day in days]
    either = [f"({' | '.join(each)})" for each in (dates, loose) if each]
    return " & ".join(facts + either)


def _build_case(queries: Sequence[ConfigQuery]) -> tuple[str, dict[str, str]]:
    """Return the SQL expression of the query for an entry's configuration and rule."""
    values: dict[str, str] = {}
    cases = []
    for number, query in enumerate(queries):
        values |= {
            f"config_{number}": f"{query.config} {query.rule}",
            f"exact_{number}": query.exact,
        }
        cases.append(f"WHEN %(config_{number})s THEN %(exact_{number})s::tsquery")
    return f"(CASE config || ' ' || rule {' '.join(cases)} END)", values


def _build_ranges(filters: SearchFilters) -> tuple[str, dict[str, Any]]:
    bounds = {
        "created_at >= %(created_after)s": filters.created_after,
        "created_at < %(created_before)s": filters.created_before,
        "confidence >= %(min_confidence)s": filters.min_confidence,
    }
    sql = "".join(f" AND {rule}" for rule, bound in bounds.items() if bound is not None)
    return sql, {
        "created_after": filters.created_after,
        "created_before": filters.created_before,
        "min_confidence": filters.min_confidence,
    }
