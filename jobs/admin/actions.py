"""Actions on chosen rows: first a page that says what will happen, then it happens.

What an action does is a service's; here it is asked once more, done row by row, and
told: how many were done, and how many were refused for which reason.
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

from jobs.admin.base import actor_of
from jobs.errors import PlatformError

# One row is one transaction, while somebody waits. More is a batch's, a tenant's or a
# region's own action: a row or two, whatever hangs on it.
MOST_ROWS = 500
_SHOWN_ROWS = 20
_EXAMPLES = 3
_TOO_MANY = (
    f"More than {MOST_ROWS} are chosen, and nothing was done. Narrow the list by its"
    " filters, or act on the whole batch, tenant or region instead."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """Something that an operator can have done to rows of a list.

    ``do`` takes a row, ``actor``, ``now`` and what the form holds. ``show`` answers
    with what came out where a message would not do, a secret above all.
    """

    name: str
    label: str
    # What will happen, as a sentence or two.
    says: str
    do: Callable[..., Any]
    permission: str = "steer"
    form: type[forms.Form] | None = None
    is_final: bool = False
    show: Callable[[Any, HttpRequest, list[Any]], HttpResponse] | None = None


class Report:
    """What became of each row."""

    def __init__(self) -> None:
        self.done: list[Any] = []
        self.refused: dict[str, list[str]] = defaultdict(list)

    def tell(self, page: Any, request: HttpRequest, label: str) -> None:
        """Say it in messages, one a reason, with a few examples of each."""
        if self.done:
            text = f"{label}: {len(self.done)} done."
            page.message_user(request, text, messages.SUCCESS)
        for reason, names in self.refused.items():
            examples = ", ".join(names[:_EXAMPLES])
            more = ", …" if len(names) > _EXAMPLES else ""
            text = f"{label}: {len(names)} refused. {reason} ({examples}{more})"
            page.message_user(request, text, messages.WARNING)


def confirmed(action: Action) -> Any:
    """Return the admin's action: it asks first, and does it once that is confirmed."""

    @admin.action(description=action.label, permissions=[action.permission])
    def act(page: Any, request: HttpRequest, rows: Any) -> HttpResponse | None:
        chosen = list(rows[: MOST_ROWS + 1])
        if len(chosen) > MOST_ROWS:
            page.message_user(request, _TOO_MANY, messages.ERROR)
            return None
        is_sent = "confirmed" in request.POST
        form = action.form(request.POST if is_sent else None) if action.form else None
        if not is_sent or (form and not form.is_valid()):
            return _ask(page, request, action, chosen, form)
        return _do(page, request, action, chosen, form.cleaned_data if form else {})

    act.__name__ = action.name
    return act


def _ask(
    page: Any, request: HttpRequest, action: Action, chosen: list[Any], form: Any
) -> HttpResponse:
    number, options = len(chosen), page.opts
    what = options.verbose_name if number == 1 else options.verbose_name_plural
    context = {
        **page.admin_site.each_context(request),
        "title": f"{action.label}?",
        "opts": options,
        "action": action,
        "chosen": chosen,
        "shown": chosen[:_SHOWN_ROWS],
        "left_out": max(0, number - _SHOWN_ROWS),
        "number": number,
        "what": f"{number} {what}",
        "form": form,
        "field": ACTION_CHECKBOX_NAME,
        "back": _back(request) or request.get_full_path(),
    }
    return TemplateResponse(request, "admin/jobs/confirm.html", context)


def _do(
    page: Any,
    request: HttpRequest,
    action: Action,
    chosen: list[Any],
    given: dict[str, Any],
) -> HttpResponse:
    report, actor, now = Report(), actor_of(request), timezone.now()
    for row in chosen:
        try:
            report.done.append(action.do(row, actor=actor, now=now, **given))
        except PlatformError as error:
            report.refused[error.message].append(str(row))
    # Chosen on a page that is old by now: a deleted row, above all.
    gone = len(request.POST.getlist(ACTION_CHECKBOX_NAME)) - len(chosen)
    if gone > 0 and request.POST.get("select_across", "0") == "0":
        page.message_user(request, f"{gone} are not there any more.", messages.WARNING)
    report.tell(page, request, capfirst(action.label))
    if action.show and report.done:
        return action.show(page, request, report.done)
    return HttpResponseRedirect(_back(request) or request.get_full_path())


def _back(request: HttpRequest) -> str:
    """Return the list as it was filtered, or a page below, if we came from there."""
    back = request.POST.get("back", "")
    parts = urlsplit(back)
    is_here = not (parts.scheme or parts.netloc) and parts.path.startswith(request.path)
    return back if is_here else ""
