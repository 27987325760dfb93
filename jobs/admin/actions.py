"""Admin actions with a confirmation page.

After confirmation an action runs row by row, through a service, and reports how many
rows succeeded and how many were rejected for which reason.
"""

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.utils import timezone
from django.utils.text import capfirst

from jobs.admin.base import get_operator_name
from jobs.errors import PlatformError
from jobs.scheduling import dispatch

# One transaction per row within the request. For more rows, act on the batch, tenant or
# region.
MAX_ROWS = 500
_SHOWN_ROWS = 20
_EXAMPLES = 3
_TOO_MANY = (
    f"More than {MAX_ROWS} rows are selected; nothing was changed. Filter the list, or"
    " act on the whole batch, tenant or region instead."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """An action that operators can run on rows of a list.

    ``do`` receives a row, ``actor``, ``now`` and the form's fields. ``show`` returns a
    page with the results if a message does not suffice, for example for secrets.
    """

    name: str
    label: str
    # Shown on the confirmation page.
    effect: str
    do: Callable[..., Any]
    permission: str = "steer"
    form: type[forms.Form] | None = None
    is_final: bool = False
    show: Callable[[Any, HttpRequest, list[Any]], HttpResponse] | None = None


class ActionReport:
    """The outcome of each row."""

    def __init__(self) -> None:
        self.done: list[Any] = []
        self.rejected: dict[str, list[str]] = defaultdict(list)

    def show(self, page: Any, request: HttpRequest, label: str) -> None:
        """Show one message per outcome, with a few example rows."""
        if self.done:
            text = f"{label}: {len(self.done)} done."
            page.message_user(request, text, messages.SUCCESS)
        for reason, names in self.rejected.items():
            examples = ", ".join(names[:_EXAMPLES])
            more = ", …" if len(names) > _EXAMPLES else ""
            text = f"{label}: {len(names)} rejected. {reason} ({examples}{more})"
            page.message_user(request, text, messages.WARNING)


def build_action(action: Action) -> Any:
    """Return a Django admin action that shows a confirmation page first."""

    @admin.action(description=action.label, permissions=[action.permission])
    def act(page: Any, request: HttpRequest, rows: Any) -> HttpResponse | None:
        selected = list(rows[: MAX_ROWS + 1])
        if len(selected) > MAX_ROWS:
            page.message_user(request, _TOO_MANY, messages.ERROR)
            return None
        is_sent = "confirmed" in request.POST
        form = action.form(request.POST if is_sent else None) if action.form else None
        if not is_sent or (form and not form.is_valid()):
            return _confirm(page, request, action, selected, form)
        return _run(page, request, action, selected, form.cleaned_data if form else {})

    act.__name__ = action.name
    return act


def _confirm(
    page: Any, request: HttpRequest, action: Action, selected: list[Any], form: Any
) -> HttpResponse:
    number, options = len(selected), page.opts
    noun = options.verbose_name if number == 1 else options.verbose_name_plural
    context = {
        **page.admin_site.each_context(request),
        "title": f"{action.label}?",
        "opts": options,
        "action": action,
        "selected": selected,
        "shown": selected[:_SHOWN_ROWS],
        "left_out": max(0, number - _SHOWN_ROWS),
        "number": number,
        "subject": f"{number} {noun}",
        "form": form,
        "field": ACTION_CHECKBOX_NAME,
        "back": _get_return_url(request) or request.get_full_path(),
    }
    return TemplateResponse(request, "admin/jobs/confirm.html", context)


def _run(
    page: Any,
    request: HttpRequest,
    action: Action,
    selected: list[Any],
    fields: dict[str, Any],
) -> HttpResponse:
    report, actor, now = ActionReport(), get_operator_name(request), timezone.now()
    for row in selected:
        try:
            report.done.append(action.do(row, actor=actor, now=now, **fields))
        except PlatformError as error:
            report.rejected[error.message].append(str(row))
    # The list may be outdated, for example after a row was deleted.
    missing = len(request.POST.getlist(ACTION_CHECKBOX_NAME)) - len(selected)
    if missing > 0 and request.POST.get("select_across", "0") == "0":
        text = f"{missing} no longer exist."
        page.message_user(request, text, messages.WARNING)
    if report.done:
        dispatch.wake()
    report.show(page, request, capfirst(action.label))
    if action.show and report.done:
        return action.show(page, request, report.done)
    return HttpResponseRedirect(_get_return_url(request) or request.get_full_path())


def _get_return_url(request: HttpRequest) -> str:
    """Return the URL of the filtered list or a page below it, or "" for any other."""
    back = request.POST.get("back", "")
    parts = urlsplit(back)
    is_here = not (parts.scheme or parts.netloc) and parts.path.startswith(request.path)
    return back if is_here else ""
