"""Parse Deepgram's query string: options by Deepgram's names, and the callback."""

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
    """The parsed query string."""

    options: Mapping[str, Any] = field(default_factory=dict)
    callback_url: str = ""
    callback_style: str = CallbackStyle.DEEPGRAM

    @property
    def has_callback(self) -> bool:
        """Whether the result is sent to a callback URL."""
        return bool(self.callback_url)


def parse_query(params: QueryDict, *, live: bool = False) -> ListenQuery:
    """Parse the parameters; raises InvalidRequest naming the invalid one."""
    values_by_name = dict(params.lists())
    callback_url = _get_single(values_by_name.pop("callback", [""]), "callback")
    method = _get_single(
        values_by_name.pop("callback_method", ["post"]), "callback_method"
    ).lower()
    if method not in _STYLES:
        _reject("callback_method", "This must be POST or PUT.")
    if callback_url:
        egress_policy.check_webhook_url(callback_url, pointer="?callback")
    parsed = {
        name: options.read_text(name, values, live=live)
        for name, values in values_by_name.items()
    }
    return ListenQuery(
        options=parsed, callback_url=callback_url, callback_style=_STYLES[method]
    )


def _get_single(values: list[str], name: str) -> str:
    if len(values) != 1:
        _reject(name, "This parameter occurs more than once.")
    return values[0]


def _reject(name: str, message: str) -> None:
    raise InvalidRequest(message, code="parameter_invalid", pointer=f"?{name}")
