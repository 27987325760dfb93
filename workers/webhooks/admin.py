"""Admin pages of webhook endpoints, deliveries and recoveries.

Read-only with actions: tenants configure endpoints through the API. Secrets (except a
new one, once), header values, query strings and message bodies are never shown.
"""

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from jobs.admin.base import ReadOnlyAdmin
from jobs.admin.lists import CreatedFilter, search_by_id
from jobs.api.jobs.serializers import strip_query
from workers.webhooks import operator_actions
from workers.webhooks.models import (
    DeliveryAttempt,
    WebhookDelivery,
    WebhookEndpoint,
    WebhookRecovery,
)


@admin.register(WebhookEndpoint)
class WebhookEndpointAdmin(ReadOnlyAdmin):
    """Endpoints with their failure counts."""

    list_display = (
        "id",
        "tenant",
        "address",
        "is_enabled",
        "disabled_reason",
        "failures",
        "failing_since",
        "held_until",
    )
    list_filter = ("is_enabled", "disabled_reason", "payload")
    list_select_related = ("tenant",)
    search_fields = ("id", "tenant__name")
    ordering = ("-id",)
    # All fields except the URL and the header values.
    fields = (
        *("id", "tenant", "address", "description", "event_types", "payload"),
        *("header_names", "max_concurrent", "is_enabled", "disabled_reason"),
        *("disabled_at", "failures", "failing_since", "held_reason"),
        *("held_until", "created_at", "deleted_at"),
    )
    readonly_fields = fields
    actions = operator_actions.OF_ENDPOINTS

    def has_rotate_permission(self, request: HttpRequest) -> bool:
        """Return whether the user may see a new secret."""
        return self._has_permission(request, "change")

    @admin.display(description="URL")
    def address(self, endpoint: WebhookEndpoint) -> str:
        """Return the URL without its query string, which may contain a secret."""
        return strip_query(endpoint.url)

    @admin.display(description="headers")
    def header_names(self, endpoint: WebhookEndpoint) -> str:
        """Return the names of the custom headers."""
        return ", ".join(sorted(endpoint.headers))


class AttemptInline(admin.TabularInline):  # type: ignore[type-arg]  # not at run time
    """A delivery's attempts, without the responses: these belong to the tenant."""

    can_delete = False
    model = DeliveryAttempt
    fields = ("started_at", "trigger", "status_code", "error", "duration_ms")
    readonly_fields = fields
    ordering = ("claim_token",)

    def has_add_permission(self, *_args: Any) -> bool:
        """Return False: read-only."""
        return False

    def has_change_permission(self, *_args: Any) -> bool:
        """Return False: read-only."""
        return False


class StatusFilter(admin.SimpleListFilter):
    """Filters by status with conditions that match an index."""

    title = "status"
    parameter_name = "status"

    def lookups(self, _request: Any, _page: Any) -> list[tuple[str, str]]:
        """Return the choices: each status, and failed or discarded together."""
        return [("missed", "Failed or discarded"), *WebhookDelivery.Status.choices]

    def queryset(self, _request: Any, rows: QuerySet[Any]) -> QuerySet[Any]:
        """Return the rows with the chosen status."""
        value = self.value()
        if value == "missed":
            return rows.filter(status__in=["failed", "discarded"])
        if value == WebhookDelivery.Status.PENDING:
            return rows.filter(status=value, next_attempt_at__isnull=False)
        is_known = value in WebhookDelivery.Status.values
        return rows.filter(status=value) if is_known else rows


@admin.register(WebhookDelivery)
class DeliveryAdmin(ReadOnlyAdmin):
    """Deliveries, newest first, without their bodies."""

    list_display = (
        *("id", "tenant", "endpoint", "status", "attempts", "next_attempt_at"),
        *("is_held", "created_at"),
    )
    list_filter = (StatusFilter, CreatedFilter, "is_held")
    list_select_related = ("tenant", "endpoint")
    search_fields = ("id",)
    search_help_text = "The complete ID of a delivery, job, endpoint or event."
    ordering = ("-pk",)
    # A callback's query string may be a secret; the body contains the transcript.
    exclude = ("url", "body", "target")
    inlines = (AttemptInline,)
    actions = operator_actions.OF_DELIVERIES

    def get_queryset(self, request: HttpRequest) -> QuerySet[WebhookDelivery]:
        """Defer the body."""
        return super().get_queryset(request).defer("body")

    def get_search_results(
        self, _request: HttpRequest, queryset: Any, search_term: str
    ) -> tuple[Any, bool]:
        """Match a complete ID through the indexes."""
        fields = ("pk", "job", "endpoint", "event")
        return search_by_id(queryset, search_term, fields), False


@admin.register(WebhookRecovery)
class RecoveryAdmin(ReadOnlyAdmin):
    """Recoveries requested by tenants."""

    list_display = ("id", "endpoint", "since", "until", "number", "created_at")
    ordering = ("-pk",)
