"""Admin lists of attempts, events, audit entries and workers."""

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
from jobs.admin.lists import CreatedFilter, search_by_id
from jobs.models import Attempt, AuditEntry, Event, Worker
from jobs.scheduling.capacity import WORKER_SEEN_SECONDS

_MAX_OPERATORS = 50


class JobRowAdmin(ReadOnlyAdmin):
    """Rows that belong to a job."""

    search_fields = ("id",)
    id_fields: tuple[str, ...] = ("job", "pk")

    def get_search_results(
        self, _request: HttpRequest, queryset: Any, search_term: str
    ) -> tuple[Any, bool]:
        """Search exact ids by index."""
        return search_by_id(queryset, search_term, self.id_fields), False

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest) -> bool:
        """Allow lists of one job."""
        allowed = super().lookup_allowed(lookup, value, request)
        return lookup == "job__id__exact" or allowed


@admin.register(Attempt)
class AttemptAdmin(JobRowAdmin):
    """All upstream calls."""

    list_display = (
        *("started_at", "outcome", "error_code", "region", "took", "cost_estimate"),
        *("request_id", "job"),
    )
    list_select_related = ("region",)
    list_filter = ("outcome", CreatedFilter, "region")
    search_help_text = "Exact job id or upstream request id."
    ordering = ("-id",)

    def get_search_results(
        self, request: HttpRequest, queryset: Any, search_term: str
    ) -> tuple[Any, bool]:
        """Search upstream request ids too."""
        term = search_term.strip()
        if term:
            found = queryset.filter(request_id=term).exclude(request_id="")
            if found.exists():
                return found, False
        return super().get_search_results(request, queryset, term)

    @admin.display(description="Took")
    def took(self, attempt: Attempt) -> str:
        """Return the duration of the call."""
        if not attempt.finished_at:
            return ""
        return f"{(attempt.finished_at - attempt.started_at).total_seconds():.2f} s"


class EventRowAdmin(JobRowAdmin):
    """Events and audit entries."""

    @admin.display(description="When (UTC)")
    def made_at(self, event: Event) -> str:
        """Return the time in seconds."""
        return f"{event.created_at:%Y-%m-%d %H:%M:%S}"


@admin.register(Event)
class EventAdmin(EventRowAdmin):
    """All events."""

    list_display = ("made_at", "type", "tenant", "job", "actor")
    list_select_related = ("tenant",)
    list_filter = (CreatedFilter,)
    search_help_text = "Exact job id or event id. For actors see the audit log."
    ordering = ("-id",)


class OperatorFilter(admin.SimpleListFilter):
    """Filter by actor: operators, command line and platform."""

    title = "who"
    parameter_name = "actor"

    def lookups(self, _request: Any, _page: Any) -> list[tuple[str, str]]:
        """Offer the actors."""
        operators = get_user_model().objects.filter(is_staff=True).order_by("username")
        names = operators.values_list("username", flat=True)[:_MAX_OPERATORS]
        return [
            *((f"admin:{name}", name) for name in names),
            (audit.COMMAND, "command line"),
            (audit.PLATFORM, "platform"),
        ]

    def queryset(self, _request: Any, rows: QuerySet[Any]) -> QuerySet[Any]:
        """Return the entries of the actor."""
        return rows.filter(actor=self.value()) if self.value() else rows


@admin.register(AuditEntry)
class AuditAdmin(EventRowAdmin):
    """Actions of operators, API keys and commands, newest first."""

    list_display = ("made_at", "who", "type", "tenant", "about")
    list_select_related = ("tenant",)
    list_filter = (OperatorFilter, CreatedFilter)
    search_help_text = "Exact job id, or an actor such as admin:ada or key:Ab12Cd34."
    ordering = ("-id",)

    def get_search_results(
        self, request: HttpRequest, queryset: Any, search_term: str
    ) -> tuple[Any, bool]:
        """Search actors too."""
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
        """Link to the job, or return the ids of other subjects."""
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
    """Worker processes; those without a recent heartbeat are marked."""

    list_display = ("name", "state", "seen", "busy", "slots", "shown_queues")
    ordering = ("name",)
    search_fields = ("name__startswith",)
    search_help_text = "The beginning of a worker's name."

    @admin.display(description="State")
    def state(self, worker: Worker) -> str:
        """Return whether the worker is alive; the dispatcher ignores silent ones."""
        is_stale = _silence(worker) > WORKER_SEEN_SECONDS
        tone, word = ("bad", "silent") if is_stale else ("good", "alive")
        return format_html('<span class="state {}">{}</span>', tone, word)

    @admin.display(description="Seen")
    def seen(self, worker: Worker) -> str:
        """Return the age of the last heartbeat."""
        return f"{_silence(worker):.0f} s ago"

    @admin.display(description="Queues")
    def shown_queues(self, worker: Worker) -> str:
        """Return the queues of the worker."""
        return ", ".join(worker.queues)


def _silence(worker: Worker) -> float:
    return max(0.0, (timezone.now() - worker.seen_at).total_seconds())
