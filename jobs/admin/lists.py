"""Admin lists that stay fast with millions of rows: no counts, only index lookups."""

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

# Deeper pages are slow; use a filter instead.
MAX_PAGES = 100
MAX_FOUND = 100
DAYS = 7
_VERSION_7 = 0x7 << 76 | 0x2 << 62


def first_id_at(at: datetime) -> UUID:
    """Return the smallest UUIDv7 of that time; ids are ordered by creation."""
    return UUID(int=int(at.timestamp() * 1000) << 80 | _VERSION_7)


class UncountedPaginator(Paginator):  # type: ignore[type-arg]  # not at run time
    """A paginator that reads one page and estimates the total instead of counting."""

    def __init__(self, rows: Any, per_page: int, *args: Any, number: int, **kw: Any):
        super().__init__(rows, per_page, *args, **kw)
        self._start = (min(max(number, 1), MAX_PAGES) - 1) * per_page

    @cached_property
    def count(self) -> int:
        """Return the number of rows up to this page, plus one if there are more."""
        return self._start + len(self._page_ids)

    @property
    def has_more(self) -> bool:
        """Whether there are rows after this page."""
        return len(self._page_ids) > self.per_page

    @property
    def num_pages(self) -> int:
        """Return the number of known pages, at most MAX_PAGES."""
        return min(super().num_pages, MAX_PAGES)

    @property
    def summary(self) -> str:
        """Return the range of the rows, for the footer of the list."""
        if not self._page_ids:
            return "Nothing found."
        last = self._start + min(len(self._page_ids), self.per_page)
        if not self.has_more:
            return f"{self._start + 1:,} to {last:,}, the last."
        total = self._estimate()
        of = f" of about {total:,}" if total > last else ", and more"
        return f"{self._start + 1:,} to {last:,}{of}."

    @cached_property
    def _page_ids(self) -> list[Any]:
        rows: Any = self.object_list
        end = self._start + self.per_page + 1
        return list(rows.values_list("pk", flat=True)[self._start : end])

    def _estimate(self) -> int:
        """Return the estimated number of rows of the table; 0 for a filtered list."""
        rows: Any = self.object_list
        if rows.query.where:
            return 0
        with connection.cursor() as cursor:
            sql = "SELECT reltuples::bigint FROM pg_class WHERE oid = %s::regclass"
            cursor.execute(sql, [rows.model._meta.db_table])  # noqa: SLF001  documented API
            return int(cursor.fetchone()[0])


def get_page_number(request: HttpRequest) -> int:
    """Return the requested page of a list or an autocompletion."""
    text = request.GET.get("p") or request.GET.get("page") or "1"
    return int(text) if text.isascii() and text.isdigit() and len(text) < 8 else 1  # noqa: PLR2004


class CreatedFilter(admin.SimpleListFilter):
    """Filter by creation time, with ranges of ids."""

    title = "created (UTC)"
    parameter_name = "created"

    def lookups(self, _request: Any, _page: Any) -> list[tuple[str, str]]:
        """Offer the last hour, the last 24 hours, and each of the last days."""
        today = timezone.now().astimezone(UTC).date()
        days = [str(today - timedelta(days=back)) for back in range(DAYS)]
        return [
            ("hour", "Last hour"),
            ("day", "Last 24 hours"),
            *zip(days, days, strict=True),
        ]

    def queryset(self, _request: Any, rows: QuerySet[Any]) -> QuerySet[Any]:
        """Return the rows in a range of ids."""
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
    """Filter for live sessions, which have their own index."""

    title = "kind"
    parameter_name = "kind"

    def lookups(self, _request: Any, _page: Any) -> list[tuple[str, str]]:
        """Offer live sessions only."""
        return [("live", "Live sessions")]

    def queryset(self, _request: Any, rows: QuerySet[Any]) -> QuerySet[Any]:
        """Return the filtered rows."""
        return rows.filter(mode=Mode.LIVE) if self.value() == "live" else rows


def search_jobs(jobs: QuerySet[Job], term: str) -> QuerySet[Job]:
    """Return the jobs that match a whole term; each lookup uses an index.

    The term is a job id, batch id, custom id, upstream request id or tenant name.
    """
    tenant = Tenant.objects.filter(name=term).first()
    if tenant is not None:
        return jobs.filter(tenant=tenant)
    found = [
        *Job.objects.filter(custom_id=term)
        .exclude(custom_id="")
        .values_list("pk")[:MAX_FOUND],
        *Attempt.objects.filter(request_id=term).values_list("job_id")[:MAX_FOUND],
    ]
    ids = [pk for (pk,) in found]
    try:
        searched_id = UUID(term)
    except ValueError:
        return jobs.filter(pk__in=ids)
    if Job.objects.filter(batch=searched_id).exists():
        return jobs.filter(batch=searched_id)
    return jobs.filter(pk__in=[*ids, searched_id])


def search_by_id(
    rows: QuerySet[Any], term: str, fields: Iterable[str]
) -> QuerySet[Any]:
    """Return the rows in which the first matching field has this id."""
    if not term.strip():
        return rows
    try:
        searched_id = UUID(term.strip())
    except ValueError:
        return rows.none()
    # One query per field: PostgreSQL cannot use the indexes for a combined condition.
    for field in fields:
        found = rows.filter(**{field: searched_id})
        if found.exists():
            return found
    return rows.none()
