"""Admin pages of webhooks, to look at, and to steer.

What an endpoint is told and where, its tenant says, over the API. Neither secrets (but
for a new one, once) nor header values nor query strings nor messages are shown.
"""

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from jobs.admin.base import ReadOnlyAdmin
from jobs.admin.lists import CreatedFilter, named_by_id
from jobs.api.jobs.serializers import without_query
from workers.webhooks import admin_steering
from workers.webhooks.models import (
    DeliveryAttempt,
    WebhookDelivery,
    WebhookEndpoint,
    WebhookRecovery,
)


@admin.register(WebhookEndpoint)
class WebhookEndpointAdmin(ReadOnlyAdmin):
    """Where tenants are told, and how well that goes."""

    list_display = (
        "id",
        "tenant",
        "address",
        "is_enabled",
        "disabled_reason",
        "failures",
        "failing_since",
    )
    list_filter = ("is_enabled", "disabled_reason", "payload")
    list_select_related = ("tenant",)
    search_fields = ("id", "tenant__name")
    ordering = ("-id",)
    # The row's own fields but for the URL and the headers.
    fields = (
        *("id", "tenant", "address", "description", "event_types", "payload"),
        *("header_names", "max_concurrent", "is_enabled", "disabled_reason"),
        *("disabled_at", "failures", "failing_since", "created_at", "deleted_at"),
    )
    readonly_fields = fields
    actions = admin_steering.OF_ENDPOINTS

    def has_rotate_permission(self, request: HttpRequest) -> bool:
        """Tell whether the user may be shown a new secret."""
        return self._may(request, "change")

    @admin.display(description="URL")
    def address(self, endpoint: WebhookEndpoint) -> str:
        """Return the URL without its query string, which may be a secret."""
        return without_query(endpoint.url)

    @admin.display(description="headers")
    def header_names(self, endpoint: WebhookEndpoint) -> str:
        """Return the names of the headers that it gets."""
        return ", ".join(sorted(endpoint.headers))


class AttemptInline(admin.TabularInline):  # type: ignore[type-arg]  # not at run time
    """The attempts at a delivery; what was answered is its tenant's business."""

    can_delete = False
    model = DeliveryAttempt
    fields = ("started_at", "trigger", "status_code", "error", "duration_ms")
    readonly_fields = fields
    ordering = ("claim_token",)

    def has_add_permission(self, *_args: Any) -> bool:
        """Refuse."""
        return False

    def has_change_permission(self, *_args: Any) -> bool:
        """Refuse."""
        return False


class StatusFilter(admin.SimpleListFilter):
    """By status, each in the words of an index."""

    title = "status"
    parameter_name = "status"

    def lookups(self, _request: Any, _page: Any) -> list[tuple[str, str]]:
        """Offer what did not arrive, apart and together; and what did."""
        return [("missed", "Failed or discarded"), *WebhookDelivery.Status.choices]

    def queryset(self, _request: Any, rows: QuerySet[Any]) -> QuerySet[Any]:
        """Return them."""
        value = self.value()
        if value == "missed":
            return rows.filter(status__in=["failed", "discarded"])
        if value == WebhookDelivery.Status.PENDING:
            return rows.filter(status=value, next_attempt_at__isnull=False)
        known = value in WebhookDelivery.Status.values
        return rows.filter(status=value) if known else rows


@admin.register(WebhookDelivery)
class DeliveryAdmin(ReadOnlyAdmin):
    """Deliveries, newest first, without their bytes."""

    list_display = (
        *("id", "tenant", "endpoint", "status", "attempts", "next_attempt_at"),
        *("is_held", "created_at"),
    )
    list_filter = (StatusFilter, CreatedFilter, "is_held")
    list_select_related = ("tenant", "endpoint")
    search_fields = ("id",)
    search_help_text = "The id of a delivery, a job, an endpoint or an event, whole."
    ordering = ("-pk",)
    # A callback's query string is a secret, the bytes hold the transcript.
    exclude = ("url", "body", "target")
    inlines = (AttemptInline,)
    actions = admin_steering.OF_DELIVERIES

    def get_queryset(self, request: HttpRequest) -> QuerySet[WebhookDelivery]:
        """Leave the bytes in the database."""
        return super().get_queryset(request).defer("body")

    def get_search_results(
        self, _request: HttpRequest, queryset: Any, search_term: str
    ) -> tuple[Any, bool]:
        """Look for exactly what is named, by index."""
        ways = ("pk", "job", "endpoint", "event")
        return named_by_id(queryset, search_term, ways), False


@admin.register(WebhookRecovery)
class RecoveryAdmin(ReadOnlyAdmin):
    """What tenants asked to have sent again."""

    list_display = ("id", "endpoint", "since", "until", "number", "created_at")
    ordering = ("-pk",)
