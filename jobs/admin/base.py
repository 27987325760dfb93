"""Base classes of the admin pages; every change goes through a service."""

from collections.abc import Callable
from typing import Any

from django.contrib import admin, messages
from django.db import models
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils.functional import cached_property
from django.utils.text import capfirst

from jobs.admin.lists import UncountedPaginator, get_page_number
from jobs.errors import PlatformError


def get_operator_name(request: HttpRequest) -> str:
    """Return the actor name of the operator."""
    return f"admin:{request.user.get_username()}"


# Fields whose False deserves Django's red cross; it is the normal value of all others.
FALSE_IS_BAD = {"is_active", "is_enabled"}


def show_flag(field: "models.BooleanField[Any, Any]") -> Callable[[Any], str | None]:
    """Return a column that shows "yes" for True, and nothing for False."""

    def show(row: Any) -> str | None:
        return "yes" if getattr(row, field.name) else None

    show.__name__ = field.name
    return admin.display(description=field.verbose_name, ordering=field.name)(show)


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

    def get_list_display(self, request: HttpRequest) -> Any:
        """Return the columns, without red crosses for healthy rows."""
        return self._replace_flags(super().get_list_display(request))

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """Return the fields, without red crosses for healthy rows."""
        return self._replace_flags(super().get_fields(request, obj))

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """Return the read-only fields, without red crosses for healthy rows."""
        return self._replace_flags(super().get_readonly_fields(request, obj))

    def _replace_flags(self, names: Any) -> list[Any]:
        return [self._flags.get(name, name) for name in names]

    @cached_property
    def _flags(self) -> dict[str, Callable[[Any], str | None]]:
        return {
            field.name: show_flag(field)
            for field in self.opts.fields
            if isinstance(field, models.BooleanField) and field.name not in FALSE_IS_BAD
        }

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
