"""Parse a ``/v1/listen`` request: Deepgram's query string, and the raw audio body."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import IO, Any

from django.http import QueryDict
from rest_framework.parsers import BaseParser

from jobs import options
from jobs.audio import uploads
from jobs.egress import policy as egress_policy
from jobs.errors import InvalidRequest
from jobs.models import CallbackStyle
from jobs.rest.parsers import get_content_length, refuse_truncated_body

FILE = "file"
_CHUNK_BYTES = 1024**2
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
        """Return the file; raises InvalidRequest or UploadTooLarge."""
        expected = get_content_length(parser_context)
        uploads.check_size(expected)
        file = uploads.IncomingFile(
            "audio",
            media_type or "",
            request=(parser_context or {}).get("request"),
            announced=expected,
        )
        try:
            while chunk := stream.read(min(_CHUNK_BYTES, expected - (file.size or 0))):
                file.append(chunk)
            if (file.size or 0) < expected:
                refuse_truncated_body()
            file.sync()
        except BaseException:
            with suppress(OSError):
                file.close()
            raise
        return {FILE: file} if expected else {}
