"""Parse a ``/v1/listen`` request: Deepgram's query string, and the raw audio body."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import IO, Any

from django.http import QueryDict
from rest_framework.parsers import BaseParser

from jobs import options
from jobs.audio import uploads
from jobs.egress import policy as egress_policy
from jobs.errors import InvalidRequest
from jobs.models import CallbackStyle
from jobs.rest.parsers import spool_body

FILE = "file"
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


class RawAudioParser(BaseParser):
    """Treats any content type except JSON as audio, as Deepgram does."""

    media_type = "*/*"

    def parse(
        self,
        stream: IO[Any],
        media_type: str | None = None,
        parser_context: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Return the file, unless it is empty; raises the errors of ``spool_body``."""
        file = spool_body(
            stream,
            parser_context,
            name="audio",
            content_type=media_type or "",
            check_size=uploads.check_size,
        )
        if file.size:
            return {FILE: file}
        file.close()
        return {}
