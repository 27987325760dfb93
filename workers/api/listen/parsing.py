"""Parse a ``/v1/listen`` request: Deepgram's query string, and the raw audio body."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import IO, Any
from urllib.parse import quote

from django.http import HttpResponse, QueryDict
from rest_framework.parsers import BaseParser

from jobs import options
from jobs.audio import uploads
from jobs.egress import policy as egress_policy
from jobs.errors import InvalidRequest
from jobs.models import CallbackStyle
from jobs.option_values import MODELS
from jobs.options import UnknownOptions
from jobs.rest.parsers import spool_body

FILE = "file"
_STYLES = {"post": CallbackStyle.DEEPGRAM, "put": CallbackStyle.DEEPGRAM_PUT}


@dataclass(frozen=True, slots=True, kw_only=True)
class ListenQuery:
    """The parsed query string."""

    options: Mapping[str, Any] = field(default_factory=dict)
    ignored: Sequence[str] = ()
    warnings: Sequence[dict[str, str]] = ()
    callback_url: str = ""
    callback_style: str = CallbackStyle.DEEPGRAM

    @property
    def has_callback(self) -> bool:
        """Whether the result is sent to a callback URL."""
        return bool(self.callback_url)


def parse_query(
    params: QueryDict, policy: UnknownOptions, *, live: bool = False
) -> ListenQuery:
    """Parse the parameters; raises InvalidRequest naming the invalid one."""
    values_by_name = _replace_tier(dict(params.lists()))
    callback_url = _get_single(values_by_name.pop("callback", [""]), "callback")
    method = _get_single(
        values_by_name.pop("callback_method", ["post"]), "callback_method"
    ).lower()
    if method not in _STYLES:
        _reject("callback_method", "This must be POST or PUT.")
    if callback_url:
        egress_policy.check_webhook_url(callback_url, pointer="?callback")
    known = options.LIVE_OPTIONS if live else options.OPTIONS
    ignored = options.find_ignored(values_by_name, policy, known)
    parsed = {
        name: options.read_text(name, values, live=live, policy=policy)
        for name, values in values_by_name.items()
        if name not in ignored
    }
    return ListenQuery(
        options=parsed,
        ignored=ignored,
        warnings=options.warn_of_ignored(
            ignored, of="streams" if live else "prerecorded audio"
        ),
        callback_url=callback_url,
        callback_style=_STYLES[method],
    )


def parse_flux_query(params: QueryDict, policy: UnknownOptions) -> ListenQuery:
    """Parse the parameters of ``/v2/listen``; raises InvalidRequest."""
    values_by_name = dict(params.lists())
    ignored = options.find_ignored(values_by_name, policy, options.FLUX_OPTIONS)
    kept = {name: each for name, each in values_by_name.items() if name not in ignored}
    return ListenQuery(
        options=options.check_flux_options(kept, policy),
        ignored=ignored,
        warnings=options.warn_of_ignored(ignored, of="Flux"),
    )


def set_ignored(response: HttpResponse, query: ListenQuery) -> None:
    """Name the ignored options in a header, for clients that read only Deepgram's."""
    if query.ignored:
        names = (quote(name[: options.MAX_TAG]) for name in query.ignored)
        shown = islice(names, options.MAX_WARNINGS)
        response.headers["Ignored-Options"] = ", ".join(shown)


def _replace_tier(values_by_name: dict[str, list[str]]) -> dict[str, list[str]]:
    """Write Deepgram's older names of models in full: tier and variant, or one.

    ``tier=nova&model=phonecall`` is nova-phonecall, ``model=general`` base-general.
    https://developers.deepgram.com/docs/tier
    """
    tier = values_by_name.get("tier", ["base"])[0]
    variant = values_by_name.get("model", ["general"])[0]
    is_older = "tier" in values_by_name or "model" in values_by_name
    name = f"{tier}-{variant}"
    if not is_older or variant in MODELS or name not in MODELS:
        return values_by_name
    values_by_name.pop("tier", None)
    return {**values_by_name, "model": [name]}


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
