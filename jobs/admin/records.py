"""Admin lists of what the platform writes down: calls, events, who did what."""

from typing import Any

from django.contrib import admin
from django.contrib.auth import get_user_model
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html

from jobs.accounts import audit
from jobs.admin.base import ReadOnlyAdmin
from jobs.admin.lists import CreatedFilter, named_by_id
from jobs.models import Attempt, AuditEntry, Event, Worker
from jobs.scheduling.capacity import WORKER_SEEN_SECONDS

_MOST_OPERATORS = 50


class OfJobAdmin(ReadOnlyAdmin):
    """Rows that a job has many of."""

    search_fields = ("id",)
    found_by: tuple[str, ...] = ("job", "pk")

    def get_search_results(
        self, _request: HttpRequest, queryset: Any, search_term: str
    ) -> tuple[Any, bool]:
        """Look for exactly what is named, by index."""
        return named_by_id(queryset, search_term, self.found_by), False

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest) -> bool:
        """Allow the list of one job's."""
        allowed = super().lookup_allowed(lookup, value, request)
        return lookup == "job__id__exact" or allowed


@admin.register(Attempt)
class AttemptAdmin(OfJobAdmin):
    """The ledger: every upstream call."""

    list_display = (
        *("started_at", "outcome", "error_code", "region", "took", "cost_estimate"),
        *("request_id", "job"),
    )
    list_select_related = ("region",)
    list_filter = ("outcome", CreatedFilter, "region")
    search_help_text = "A job's id or an upstream request id, whole."
    ordering = ("-id",)

    def get_search_results(
        self, request: HttpRequest, queryset: Any, search_term: str
    ) -> tuple[Any, bool]:
        """Look for the upstream's own id as well."""
        term = search_term.strip()
        if term:
            called = queryset.filter(request_id=term).exclude(request_id="")
            if called.exists():
                return called, False
        return super().get_search_results(request, queryset, term)

    @admin.display(description="Took")
    def took(self, attempt: Attempt) -> str:
        """Return how long the upstream took to answer."""
        if not attempt.finished_at:
            return ""
        return f"{(attempt.finished_at - attempt.started_at).total_seconds():.2f} s"


class HappenedAdmin(OfJobAdmin):
    """Events, to the second, which is what one looks for."""

    @admin.display(description="When (UTC)")
    def made_at(self, event: Event) -> str:
        """Return when it happened."""
        return f"{event.created_at:%Y-%m-%d %H:%M:%S}"


@admin.register(Event)
class EventAdmin(HappenedAdmin):
    """Everything that happened."""

    list_display = ("made_at", "type", "tenant", "job", "actor")
    list_select_related = ("tenant",)
    list_filter = (CreatedFilter,)
    search_help_text = "A job's or an event's id, whole. Who did what: the audit log."
    ordering = ("-id",)


class OperatorFilter(admin.SimpleListFilter):
    """By who it was, of the people who may come in here and the command line."""

    title = "who"
    parameter_name = "actor"

    def lookups(self, _request: Any, _page: Any) -> list[tuple[str, str]]:
        """Offer their names."""
        people = get_user_model().objects.filter(is_staff=True).order_by("username")
        names = people.values_list("username", flat=True)[:_MOST_OPERATORS]
        return [
            *((f"admin:{name}", name) for name in names),
            (audit.COMMAND, "command line"),
            (audit.PLATFORM, "the platform itself"),
        ]

    def queryset(self, _request: Any, rows: QuerySet[Any]) -> QuerySet[Any]:
        """Return what they did."""
        return rows.filter(actor=self.value()) if self.value() else rows


@admin.register(AuditEntry)
class AuditAdmin(HappenedAdmin):
    """Who did what: operators, keys and commands, newest first."""

    list_display = ("made_at", "who", "type", "tenant", "about")
    list_select_related = ("tenant",)
    list_filter = (OperatorFilter, CreatedFilter)
    search_help_text = "A job's id, or an actor: admin:ada, key:Ab12Cd34; whole."
    ordering = ("-id",)

    def get_search_results(
        self, request: HttpRequest, queryset: Any, search_term: str
    ) -> tuple[Any, bool]:
        """Look for an actor as well."""
        term = search_term.strip()
        if ":" in term or term in {audit.COMMAND, audit.PLATFORM}:
            return queryset.filter(actor=term), False
        return super().get_search_results(request, queryset, term)

    @admin.display(description="Who")
    def who(self, entry: AuditEntry) -> str:
        """Return the actor."""
        return entry.actor

    @admin.display(description="About")
    def about(self, entry: AuditEntry) -> str:
        """Lead to the job, or say what else it was done to."""
        if entry.job_id:
            page = reverse("admin:jobs_job_change", args=[entry.job_id])
            return format_html('<a href="{}">job {}</a>', page, entry.job_id)
        ids = [
            f"{name.removesuffix('_id')} {value}"
            for name, value in sorted(entry.data.items())
            if name.endswith("_id") or name in {"region", "key", "name"}
        ]
        return ", ".join(ids)


@admin.register(Worker)
class WorkerAdmin(ReadOnlyAdmin):
    """Worker processes, by their own word; one that is silent is marked."""

    list_display = ("name", "state", "seen", "busy", "slots", "shown_queues")
    ordering = ("name",)
    search_fields = ("name__startswith",)
    search_help_text = "How a worker's name begins."

    @admin.display(description="State")
    def state(self, worker: Worker) -> str:
        """Say whether it is heard of; no work is sent to one that is not."""
        is_stale = _silence(worker) > WORKER_SEEN_SECONDS
        tone, word = ("bad", "silent") if is_stale else ("good", "alive")
        return format_html('<span class="state {}">{}</span>', tone, word)

    @admin.display(description="Seen")
    def seen(self, worker: Worker) -> str:
        """Return how long ago it was heard of."""
        return f"{_silence(worker):.0f} s ago"

    @admin.display(description="Queues")
    def shown_queues(self, worker: Worker) -> str:
        """Return what it takes work from."""
        return ", ".join(worker.queues)


def _silence(worker: Worker) -> float:
    return max(0.0, (timezone.now() - worker.seen_at).total_seconds())
