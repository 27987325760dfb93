"""Parses and checks the query parameters of a call, as Deepgram does.

Unknown parameters are ignored, as Deepgram does. Performs no I/O.
"""

import re
import urllib.parse
from collections.abc import Iterable
from dataclasses import dataclass, field

from workers.emulator.protocol import catalog, refusals

Pairs = list[tuple[str, str]]

# Each of these implies punctuation.
PUNCTUATING = ("punctuate", "smart_format", "paragraphs", "diarize", "detect_entities")
BOOLEANS = {"true": True, "false": False}
_MAX_DIGITS = 9
_LANGUAGE = re.compile(r"[A-Za-z]{2,3}(?:-[A-Za-z0-9]{2,8})*|multi")


@dataclass(frozen=True, slots=True, kw_only=True)
class RawFormat:
    """Format of audio without a container."""

    encoding: str
    sample_rate: int
    channels: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """The parameters that change the results; equal shapes share a cached document."""

    flags: frozenset[str] = frozenset()
    model: str = "base-general"
    family: str = "base"
    language: str = "en"
    utterance_split: float = 0.8
    is_language_detected: bool = False
    languages_allowed: tuple[str, ...] = ()
    is_summarized: bool = False
    search: tuple[str, ...] = ()
    raw: RawFormat | None = None
    words: int | None = None

    @property
    def is_punctuated(self) -> bool:
        """Return whether any parameter implies punctuation."""
        return not self.flags.isdisjoint(PUNCTUATING)


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The parameters of one call."""

    shape: Shape = field(default_factory=Shape)
    tags: tuple[str, ...] = ()
    extra: tuple[tuple[str, str], ...] = ()
    callback: str = ""
    callback_method: str = "POST"


def split_query(raw: str) -> Pairs:
    """Return the parameters in their original order."""
    return urllib.parse.parse_qsl(raw, keep_blank_values=True)


def parse_options(pairs: Pairs) -> Options:
    """Return the typed parameters, or raise Refused with Deepgram's message."""
    last = dict(pairs)
    flags = _parse_flags(last)
    for name, allowed in catalog.CHOICES.items():
        if name in last:
            _check_choice(last[name], allowed)
    model = last.get("model", "base-general")
    family = _find_family(last, model, pairs)
    detect = [value for name, value in pairs if name == "detect_language"]
    shape = Shape(
        flags=flags,
        model=model,
        family=family,
        language=last.get("language", "en"),
        utterance_split=_parse_float(last.get("utt_split", "0.8")),
        is_language_detected=bool(detect) and detect != ["false"],
        languages_allowed=tuple(code for code in detect if code not in BOOLEANS),
        is_summarized=last.get("summarize", "false") != "false",
        search=_get_all(pairs, "search"),
        raw=_parse_raw(last),
        words=parse_whole(last["emu_words"]) if "emu_words" in last else None,
    )
    return Options(
        shape=shape,
        tags=_get_all(pairs, "tag"),
        extra=tuple(_split_extra(text) for text in _get_all(pairs, "extra")),
        callback=_check_callback(last.get("callback")),
        callback_method=last.get("callback_method", "POST").upper(),
    )


def _parse_flags(last: dict[str, str]) -> frozenset[str]:
    flags = {name for name in catalog.FLAGS & last.keys() if parse_flag(last[name])}
    if "diarize_model" in last:
        flags.add("diarize")
    return frozenset(flags)


def _check_choice(value: str, allowed: Iterable[str]) -> None:
    if value not in allowed:
        names = ", ".join(f"`{name}`" for name in allowed)
        raise refusals.invalid_query(
            f"unknown variant `{value}`, expected one of {names}"
        )


def _find_family(last: dict[str, str], model: str, pairs: Pairs) -> str:
    """Return the model's family; check its language and parameters."""
    language = last.get("language", "en")
    family = catalog.find_family(model, last.get("tier", ""))
    if (
        family is None
        or not _LANGUAGE.fullmatch(language)
        or not catalog.has_language(family, model, language)
    ):
        raise refusals.Refused(refusals.NO_SUCH_MODEL)
    if family == "nova-3" and _get_all(pairs, "keywords"):
        raise refusals.bad_request("Keywords are not supported for Nova-3 models.")
    if family not in {"nova-3", "custom"} and _get_all(pairs, "keyterm"):
        raise refusals.bad_request("Keyterms are only supported for Nova-3 models.")
    return family


def _parse_raw(last: dict[str, str]) -> RawFormat | None:
    """Return the declared format of audio without a container, if any."""
    for name in ("sample_rate", "channels", "alternatives"):
        if name in last:
            parse_whole(last[name])
    if "encoding" not in last or "sample_rate" not in last:
        return None
    return RawFormat(
        encoding=last["encoding"],
        sample_rate=max(1, parse_whole(last["sample_rate"])),
        channels=max(1, parse_whole(last.get("channels", "1"))),
    )


def _check_callback(url: str | None) -> str:
    if url is None:
        return ""
    try:
        parts = urllib.parse.urlsplit(url)
        is_http_url = parts.scheme in {"http", "https"} and bool(parts.hostname)
    except ValueError:
        is_http_url = False
    if not is_http_url:
        raise refusals.Refused(refusals.INVALID_CALLBACK)
    return url


def _get_all(pairs: Pairs, parameter: str) -> tuple[str, ...]:
    return tuple(value for name, value in pairs if name == parameter)


def _split_extra(text: str) -> tuple[str, str]:
    key, _, value = text.partition(":")
    return key, value


def parse_flag(text: str) -> bool:
    """Return a truth value, or raise Refused."""
    if text not in BOOLEANS:
        raise refusals.invalid_query("provided string was not `true` or `false`")
    return BOOLEANS[text]


def parse_whole(text: str) -> int:
    """Return a whole number, or raise Refused."""
    if not (text.isascii() and text.isdigit()):
        raise refusals.invalid_query("invalid digit found in string")
    if len(text) > _MAX_DIGITS:
        raise refusals.invalid_query("number too large to fit in target type")
    return int(text)


def _parse_float(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise refusals.invalid_query("invalid float literal") from None
