"""Admin pages of endpoints, to look at: their tenants change them by the API.

Neither secrets nor header values nor query strings are anywhere here.
"""

from typing import Any

from django.contrib import admin
from django.http import HttpRequest

from jobs.serializers import without_query
from workers.webhooks.models import WebhookEndpoint


@admin.register(WebhookEndpoint)
class WebhookEndpointAdmin(admin.ModelAdmin):  # type: ignore[type-arg]  # not at run time
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

    def has_add_permission(self, _request: HttpRequest) -> bool:
        """Return False: a secret made here would have to be shown here."""
        return False

    def has_change_permission(self, _request: HttpRequest, _row: Any = None) -> bool:
        """Return False: nothing is changed here."""
        return False

    def has_delete_permission(self, _request: HttpRequest, _row: Any = None) -> bool:
        """Return False: deleting is the API's, which keeps the log."""
        return False
