"""Admin pages of webhooks, to look at, and to have a delivery sent again.

Endpoints are changed by their tenants, over the API. Neither secrets nor header values
nor query strings nor messages are anywhere here.
"""

from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone

from jobs.errors import PlatformError
from jobs.serializers import without_query
from workers.webhooks import replay
from workers.webhooks.models import (
    DeliveryAttempt,
    WebhookDelivery,
    WebhookEndpoint,
    WebhookRecovery,
)


class ReadOnly:
    """Rows that only the platform writes."""

    def has_add_permission(self, *_args: Any) -> bool:
        """Refuse."""
        return False

    def has_change_permission(self, *_args: Any) -> bool:
        """Refuse."""
        return False

    def has_delete_permission(self, *_args: Any) -> bool:
        """Refuse."""
        return False


@admin.register(WebhookEndpoint)
class WebhookEndpointAdmin(ReadOnly, admin.ModelAdmin):  # type: ignore[type-arg]  # not at run time
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

    @admin.display(description="URL")
    def address(self, endpoint: WebhookEndpoint) -> str:
        """Return the URL without its query string, which may be a secret."""
        return without_query(endpoint.url)

    @admin.display(description="headers")
    def header_names(self, endpoint: WebhookEndpoint) -> str:
        """Return the names of the headers that it gets."""
        return ", ".join(sorted(endpoint.headers))


class AttemptInline(ReadOnly, admin.TabularInline):  # type: ignore[type-arg]  # as below
    """The attempts at a delivery; what was answered is its tenant's business."""

    model = DeliveryAttempt
    fields = ("started_at", "trigger", "status_code", "error", "duration_ms")
    readonly_fields = fields
    ordering = ("claim_token",)


@admin.register(WebhookDelivery)
class DeliveryAdmin(ReadOnly, admin.ModelAdmin):  # type: ignore[type-arg]  # not at run time
    """Deliveries, newest first, without their bytes."""

    list_display = (
        *("id", "tenant", "endpoint", "status", "attempts", "next_attempt_at"),
        *("is_held", "created_at"),
    )
    list_filter = ("status", "is_held")
    list_select_related = ("tenant", "endpoint")
    search_fields = ("=id", "=job__id", "=endpoint__id", "=event__id")
    ordering = ("-pk",)
    show_full_result_count = False
    # A callback's query string is a secret, the bytes hold the transcript.
    exclude = ("url", "body", "target")
    inlines = (AttemptInline,)
    actions = ("redeliver",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[WebhookDelivery]:
        """Leave the bytes in the database."""
        return super().get_queryset(request).defer("body")

    def has_redeliver_permission(self, request: HttpRequest) -> bool:
        """Let those send again who steer."""
        return request.user.has_perm("webhooks.steer_webhookdelivery")

    @admin.action(description="Send again", permissions=["redeliver"])
    def redeliver(
        self, request: HttpRequest, deliveries: QuerySet[WebhookDelivery]
    ) -> None:
        """Ask for one manual attempt at each; say which cannot be sent."""
        asked = 0
        for delivery in deliveries.select_related("tenant"):
            try:
                replay.redeliver(
                    tenant=delivery.tenant,
                    actor=f"user:{request.user}",
                    delivery_id=delivery.pk,
                    now=timezone.now(),
                )
                asked += 1
            except PlatformError as refusal:
                text = f"{delivery}: {refusal.message}"
                self.message_user(request, text, messages.WARNING)
        self.message_user(request, f"{asked} will be sent again.")


@admin.register(WebhookRecovery)
class RecoveryAdmin(ReadOnly, admin.ModelAdmin):  # type: ignore[type-arg]  # as above
    """What tenants asked to have sent again."""

    list_display = ("id", "endpoint", "since", "until", "number", "created_at")
    ordering = ("-pk",)
