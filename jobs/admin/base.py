"""Base classes of the admin pages; every change goes through a service."""

from typing import Any

from django.contrib import admin, messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils.text import capfirst

from jobs.admin.lists import UncountedPaginator, get_page_number
from jobs.errors import PlatformError


def get_operator_name(request: HttpRequest) -> str:
    """Return the actor name of the operator."""
    return f"admin:{request.user.get_username()}"


class ServiceAdmin(admin.ModelAdmin):  # type: ignore[type-arg]  # not at run time
    """An admin page whose rows services write; their errors become messages."""

    show_full_result_count = False
    actions_on_bottom = True
    # Facets would count the rows of every filter value.
    show_facets = admin.ShowFacets.NEVER

    def get_paginator(
        self, request: HttpRequest, queryset: Any, per_page: int, *args: Any, **kw: Any
    ) -> Any:
        """Return a paginator that does not count."""
        number = get_page_number(request)
        return UncountedPaginator(queryset, per_page, *args, number=number, **kw)

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> Any:
        """Use the plural name of the model as title."""
        title = capfirst(self.opts.verbose_name_plural)
        return super().changelist_view(
            request, {"title": title, **(extra_context or {})}
        )

    def has_delete_permission(self, *_args: Any) -> bool:
        """Deny: rows are never deleted here."""
        return False

    def has_steer_permission(self, request: HttpRequest) -> bool:
        """Return whether the user may cancel, retry or redirect jobs."""
        return self._has_permission(request, "steer")

    def has_erase_permission(self, request: HttpRequest) -> bool:
        """Return whether the user may erase content permanently."""
        return self._has_permission(request, "erase")

    def _has_permission(self, request: HttpRequest, verb: str) -> bool:
        name = f"{self.opts.app_label}.{verb}_{self.opts.model_name}"
        return request.user.has_perm(name)

    def changeform_view(
        self, request: HttpRequest, *args: Any, **kwargs: Any
    ) -> HttpResponse:
        """Show the form again with the message of a service error."""
        try:
            return super().changeform_view(request, *args, **kwargs)
        except PlatformError as error:
            self.message_user(request, error.message, messages.ERROR)
            return HttpResponseRedirect(request.get_full_path())


class ReadOnlyAdmin(ServiceAdmin):
    """Rows that only the platform writes, in order of creation."""

    # No index supports another order.
    sortable_by = ()

    def has_add_permission(self, *_args: Any) -> bool:
        """Refuse."""
        return False

    def has_change_permission(self, *_args: Any) -> bool:
        """Refuse."""
        return False
