"""Read Deepgram's query string: options by Deepgram's names, and where to call back."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from django.http import QueryDict

from jobs import options
from jobs.egress import policy as egress_policy
from jobs.errors import InvalidRequest
from jobs.models import CallbackStyle

_STYLES = {"post": CallbackStyle.DEEPGRAM, "put": CallbackStyle.DEEPGRAM_PUT}


@dataclass(frozen=True, slots=True, kw_only=True)
class ListenQuery:
    """What the query string asks for."""

    options: Mapping[str, Any] = field(default_factory=dict)
    callback_url: str = ""
    callback_style: str = CallbackStyle.DEEPGRAM

    @property
    def has_callback(self) -> bool:
        """Whether the caller does not wait for the result."""
        return bool(self.callback_url)


def parse_query(params: QueryDict, *, live: bool = False) -> ListenQuery:
    """Read it; raises InvalidRequest naming the parameter that it cannot read."""
    given = dict(params.lists())
    callback_url = _single(given.pop("callback", [""]), "callback")
    method = _single(given.pop("callback_method", ["post"]), "callback_method").lower()
    if method not in _STYLES:
        _refuse("callback_method", "This is POST or PUT.")
    if callback_url:
        egress_policy.check_webhook_url(callback_url, pointer="?callback")
    read = {
        name: options.read_text(name, values, live=live)
        for name, values in given.items()
    }
    return ListenQuery(
        options=read, callback_url=callback_url, callback_style=_STYLES[method]
    )


def _single(values: list[str], name: str) -> str:
    if len(values) != 1:
        _refuse(name, "This parameter was given twice.")
    return values[0]


def _refuse(name: str, message: str) -> None:
    raise InvalidRequest(message, code="parameter_invalid", pointer=f"?{name}")
