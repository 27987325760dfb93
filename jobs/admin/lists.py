"""Lists that stay fast over a million rows: nothing is counted, all by an index."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any
from uuid import UUID

from django.contrib import admin
from django.core.paginator import Paginator
from django.db import connection
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone

from jobs.models import Attempt, Job, Mode, Tenant

# Further back a filter leads faster than a page number.
MAX_PAGES = 100
MAX_FOUND = 100
DAYS = 7
_VERSION_7 = 0x7 << 76 | 0x2 << 62


def first_id_at(at: datetime) -> UUID:
    """Return the least id of a row made at that time: ids are in the order of time."""
    return UUID(int=int(at.timestamp() * 1000) << 80 | _VERSION_7)


class UncountedPaginator(Paginator):  # type: ignore[type-arg]  # not at run time
    """One page, and whether there is another; how many in all is only estimated."""

    def __init__(self, rows: Any, per_page: int, *args: Any, number: int, **kw: Any):
        super().__init__(rows, per_page, *args, **kw)
        self._start = (min(max(number, 1), MAX_PAGES) - 1) * per_page

    @cached_property
    def count(self) -> int:
        """Return how many rows there are up to this page, and one more if there is."""
        return self._start + len(self._looked_at)

    @property
    def has_more(self) -> bool:
        """Whether there are rows after this page."""
        return len(self._looked_at) > self.per_page

    @property
    def num_pages(self) -> int:
        """Return how many pages are known; no more than can be asked for."""
        return min(super().num_pages, MAX_PAGES)

    @property
    def says(self) -> str:
        """Say which rows these are, for the foot of the list."""
        if not self._looked_at:
            return "Nothing found."
        last = self._start + min(len(self._looked_at), self.per_page)
        if not self.has_more:
            return f"{self._start + 1:,} to {last:,}, the last."
        total = self._estimate()
        of = f" of about {total:,}" if total > last else ", and more"
        return f"{self._start + 1:,} to {last:,}{of}."

    @cached_property
    def _looked_at(self) -> list[Any]:
        rows: Any = self.object_list
        end = self._start + self.per_page + 1
        return list(rows.values_list("pk", flat=True)[self._start : end])

    def _estimate(self) -> int:
        """Return about how many rows the table has; 0 where a filter leaves fewer."""
        rows: Any = self.object_list
        if rows.query.where:
            return 0
        with connection.cursor() as cursor:
            sql = "SELECT reltuples::bigint FROM pg_class WHERE oid = %s::regclass"
            cursor.execute(sql, [rows.model._meta.db_table])  # noqa: SLF001  Django's own
            return int(cursor.fetchone()[0])


def page_number(request: HttpRequest) -> int:
    """Return which page of a list, or of an autocompletion, is asked for."""
    text = request.GET.get("p") or request.GET.get("page") or "1"
    return int(text) if text.isascii() and text.isdigit() and len(text) < 8 else 1  # noqa: PLR2004


class CreatedFilter(admin.SimpleListFilter):
    """By the time of making, which ids are in the order of."""

    title = "created (UTC)"
    parameter_name = "created"

    def lookups(self, _request: Any, _page: Any) -> list[tuple[str, str]]:
        """Offer the last hour, the last day, and each of the last days."""
        today = timezone.now().astimezone(UTC).date()
        days = [str(today - timedelta(days=back)) for back in range(DAYS)]
        return [
            ("hour", "Last hour"),
            ("day", "Last 24 hours"),
            *zip(days, days, strict=True),
        ]

    def queryset(self, _request: Any, rows: QuerySet[Any]) -> QuerySet[Any]:
        """Return a stretch of ids."""
        value, now = self.value(), timezone.now()
        if value not in dict(self.lookup_choices):
            return rows
        if value in {"hour", "day"}:
            back = timedelta(hours=1) if value == "hour" else timedelta(days=1)
            return rows.filter(pk__gte=first_id_at(now - back))
        day = datetime.fromisoformat(str(value)).replace(tzinfo=UTC)
        end = first_id_at(day + timedelta(days=1))
        return rows.filter(pk__gte=first_id_at(day), pk__lt=end)


class LiveFilter(admin.SimpleListFilter):
    """Live sessions, which are few and have an index of their own."""

    title = "kind"
    parameter_name = "kind"

    def lookups(self, _request: Any, _page: Any) -> list[tuple[str, str]]:
        """Offer live sessions alone."""
        return [("live", "Live sessions")]

    def queryset(self, _request: Any, rows: QuerySet[Any]) -> QuerySet[Any]:
        """Return them."""
        return rows.filter(mode=Mode.LIVE) if self.value() == "live" else rows


def search_jobs(jobs: QuerySet[Job], term: str) -> QuerySet[Job]:
    """Return the jobs that a term names, whole; each way to name one has an index.

    Its own id or its batch's, what the customer calls it, what the upstream calls one
    of its calls, or its tenant's name.
    """
    tenant = Tenant.objects.filter(name=term).first()
    if tenant is not None:
        return jobs.filter(tenant=tenant)
    named = [
        *Job.objects.filter(custom_id=term)
        .exclude(custom_id="")
        .values_list("pk")[:MAX_FOUND],
        *Attempt.objects.filter(request_id=term).values_list("job_id")[:MAX_FOUND],
    ]
    found = [pk for (pk,) in named]
    try:
        given = UUID(term)
    except ValueError:
        return jobs.filter(pk__in=found)
    if Job.objects.filter(batch=given).exists():
        return jobs.filter(batch=given)
    return jobs.filter(pk__in=[*found, given])


def named_by_id(rows: QuerySet[Any], term: str, ways: Iterable[str]) -> QuerySet[Any]:
    """Return the rows that an id names in one of these ways; none for no id."""
    if not term.strip():
        return rows
    try:
        given = UUID(term.strip())
    except ValueError:
        return rows.none()
    # One way at a time: several in one condition are no index's.
    for way in ways:
        found = rows.filter(**{way: given})
        if found.exists():
            return found
    return rows.none()
