"""What the admin pages have in common: every change goes through a service."""

from typing import Any

from django.contrib import admin, messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils.text import capfirst

from jobs.admin.lists import UncountedPaginator, page_number
from jobs.errors import PlatformError


def actor_of(request: HttpRequest) -> str:
    """Return how an operator is named as an actor."""
    return f"admin:{request.user.get_username()}"


class ServiceAdmin(admin.ModelAdmin):  # type: ignore[type-arg]  # not at run time
    """Rows that services write; what these refuse is said on the page."""

    show_full_result_count = False
    actions_on_bottom = True
    # Facets count every choice of every filter.
    show_facets = admin.ShowFacets.NEVER

    def get_paginator(
        self, request: HttpRequest, queryset: Any, per_page: int, *args: Any, **kw: Any
    ) -> Any:
        """Page without counting."""
        number = page_number(request)
        return UncountedPaginator(queryset, per_page, *args, number=number, **kw)

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> Any:
        """Call the list by what is in it."""
        title = capfirst(self.opts.verbose_name_plural)
        return super().changelist_view(
            request, {"title": title, **(extra_context or {})}
        )

    def has_delete_permission(self, *_args: Any) -> bool:
        """Refuse: what was, stays written down."""
        return False

    def has_steer_permission(self, request: HttpRequest) -> bool:
        """Tell whether the user may end, repeat or redirect work."""
        return self._may(request, "steer")

    def has_erase_permission(self, request: HttpRequest) -> bool:
        """Tell whether the user may erase what nobody can bring back."""
        return self._may(request, "erase")

    def _may(self, request: HttpRequest, verb: str) -> bool:
        name = f"{self.opts.app_label}.{verb}_{self.opts.model_name}"
        return request.user.has_perm(name)

    def changeform_view(
        self, request: HttpRequest, *args: Any, **kwargs: Any
    ) -> HttpResponse:
        """Show the form again, with the sentence, where a service refuses."""
        try:
            return super().changeform_view(request, *args, **kwargs)
        except PlatformError as error:
            self.message_user(request, error.message, messages.ERROR)
            return HttpResponseRedirect(request.get_full_path())


class ReadOnlyAdmin(ServiceAdmin):
    """Rows that only the platform writes: many, in the order of their making."""

    # No index has them in another order.
    sortable_by = ()

    def has_add_permission(self, *_args: Any) -> bool:
        """Refuse."""
        return False

    def has_change_permission(self, *_args: Any) -> bool:
        """Refuse."""
        return False
