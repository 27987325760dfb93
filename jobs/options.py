"""The Deepgram options a job may carry: name, type, and the few certain combinations.

A table, kept as data because it changes often; what only Deepgram can judge (which
model speaks which language) is left to Deepgram. Pure.
https://developers.deepgram.com/reference/speech-to-text/listen-pre-recorded
"""

import difflib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, NoReturn

from jobs.errors import InvalidRequest
from jobs.strict_json import pointer_to

MAX_ITEMS = 100
MAX_TEXT = 1000
MAX_TAG = 128
# Of audio without a header; a WAV stream's header is held to the same.
SAMPLE_RATES = range(1000, 384_000 + 1)
CHANNELS = range(1, 64 + 1)
# Names this long are no typing error.
_LONGEST_GUESSED = 64

# Returns the value as it is stored, or raises _Wrong.
Check = Callable[[Any], Any]


class _Wrong(ValueError):
    """A value is not of the option's kind; the text finishes "… must be"."""


def check_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options as stored, single values of list options put into lists.

    Raises InvalidRequest for the first one that is unknown or of the wrong type.
    """
    return {name: _check_option(name, value) for name, value in options.items()}


def check_live_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Do the same for the options of a stream."""
    return {
        name: _check_option(name, value, LIVE_OPTIONS)
        for name, value in options.items()
    }


def check_live_combination(options: Mapping[str, Any]) -> None:
    """Refuse options of a stream that are certain to fail together."""
    check_combination(options)
    if "sample_rate" in options and "encoding" not in options:
        reason = "needs 'encoding': a container says by itself how it is sampled"
        _refuse_pair("sample_rate", reason)
    if "utterance_end_ms" in options and options.get("interim_results") is False:
        _refuse_pair("utterance_end_ms", "needs 'interim_results'")


def choose_live(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return those that a stream can have: defaults may hold others."""
    return {name: each for name, each in options.items() if name in LIVE_OPTIONS}


def check_combination(options: Mapping[str, Any]) -> None:
    """Refuse options that are certain to fail together.

    To be given what the call will carry: the customer's options over the defaults.
    """
    model = str(options.get("model", ""))
    is_nova_3 = model.startswith("nova-3")
    is_custom = _UUID.fullmatch(model) is not None
    if "keyterm" in options and not (is_nova_3 or is_custom):
        _refuse_pair("keyterm", "needs a nova-3 model; older ones take 'keywords'")
    if "keywords" in options and (is_nova_3 or model.startswith("whisper")):
        _refuse_pair("keywords", "is not for nova-3 (which takes 'keyterm') or whisper")
    is_multi = options.get("language") == "multi"
    if "language_hint" in options and not (is_nova_3 and is_multi):
        _refuse_pair("language_hint", "needs a nova-3 model and language=multi")
    if "encoding" in options and "sample_rate" not in options:
        _refuse_pair("encoding", "needs 'sample_rate': it describes headerless audio")


def read_text(name: str, values: Sequence[str], *, live: bool = False) -> Any:
    """Return an option given as text, as in a query string, as it is stored.

    Raises InvalidRequest as ``check_options`` does.
    """
    known = LIVE_OPTIONS if live else OPTIONS
    *others, last = _readings(values)
    for reading in others:
        with suppress(InvalidRequest):
            return _check_option(name, reading, known)
    return _check_option(name, last, known)


def _readings(values: Sequence[str]) -> Iterator[Any]:
    """Yield what the text may mean; the check of the option's kind decides."""
    if len(values) == 1:
        (text,) = values
        if text in {"true", "false"}:
            yield text == "true"
        if re.fullmatch(r"[0-9]{1,9}", text):
            yield int(text)
        if re.fullmatch(r"[0-9]{0,9}\.[0-9]{1,9}", text):
            yield float(text)
        yield text
    else:
        yield list(values)


def _check_option(
    name: str, value: Any, known: "Mapping[str, Check] | None" = None
) -> Any:
    known = OPTIONS if known is None else known
    pointer = pointer_to("options", name)
    if name in REFUSED:
        raise InvalidRequest(REFUSED[name], code="option_refused", pointer=pointer)
    check = known.get(name)
    if check is None:
        sought = name[:_LONGEST_GUESSED]
        close = difflib.get_close_matches(sought, known, n=1)
        hint = f" Did you mean '{close[0]}'?" if close else ""
        message = f"There is no such option.{hint}"
        raise InvalidRequest(message, code="option_unknown", pointer=pointer)
    try:
        return check(value)
    except _Wrong as wrong:
        message = f"This option must be {wrong}."
        raise InvalidRequest(message, code="option_invalid", pointer=pointer) from None


def _refuse_pair(name: str, reason: str) -> NoReturn:
    message = f"The option '{name}' {reason}."
    pointer = pointer_to("options", name)
    raise InvalidRequest(message, code="option_conflict", pointer=pointer)


def _boolean(value: Any) -> bool:
    if not isinstance(value, bool):
        raise _Wrong("true or false")
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= MAX_TEXT:
        raise _Wrong(f"text of 1 to {MAX_TEXT} characters")
    return value


def _matching(pattern: str, wanted: str) -> Check:
    compiled = re.compile(pattern)

    def check(value: Any) -> str:
        if not isinstance(value, str) or not compiled.fullmatch(value):
            raise _Wrong(wanted)
        return value

    return check


def _one_of(*values: str) -> Check:
    def check(value: Any) -> str:
        if not isinstance(value, str) or value not in values:
            raise _Wrong(f"one of {', '.join(values)}")
        return value

    return check


def _number(low: float, high: float) -> Check:
    def check(value: Any) -> float:
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if not is_number or not low <= value <= high:
            raise _Wrong(f"a number from {low:g} to {high:g}")
        return float(value)

    return check


def _whole(low: int, high: int) -> Check:
    def check(value: Any) -> int:
        is_whole = isinstance(value, int) and not isinstance(value, bool)
        if not is_whole or not low <= value <= high:
            raise _Wrong(f"a whole number from {low} to {high}")
        return int(value)

    return check


def _many(item: Check) -> Check:
    """A list of such items; a single one is taken for a list of one."""

    def check(value: Any) -> list[Any]:
        items = value if isinstance(value, list) else [value]
        if not 0 < len(items) <= MAX_ITEMS:
            raise _Wrong(f"a list of 1 to {MAX_ITEMS} items")
        return [item(each) for each in items]

    return check


def _boolean_or(other: Check) -> Check:
    def check(value: Any) -> Any:
        return value if isinstance(value, bool) else other(value)

    return check


_UUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_model = _matching(
    rf"(?:nova-3|nova-2|nova|enhanced|base|whisper)(?:-[a-z0-9-]{{1,40}})?|{_UUID.pattern}",
    "a Deepgram model such as nova-3 or nova-2-phonecall, or a custom model's id",
)
_language = _matching(
    r"multi|[A-Za-z]{2,3}(?:-[A-Za-z0-9]{2,8}){0,2}",
    "a BCP-47 language tag such as en or pt-BR",
)
_pair = _matching(r"[^:]{1,500}:.{0,500}", "text of the form key:value")
# ``job:`` is the ledger's: what Deepgram billed is found by it.
_tag = _matching(
    rf"(?!job:).{{1,{MAX_TAG}}}",
    f"text of 1 to {MAX_TAG} characters that does not begin with job:",
)
_mode = _one_of("extended", "strict")
_OWN_DELIVERY = "The platform delivers results itself: give the job a callback_url."

REFUSED = {"callback": _OWN_DELIVERY, "callback_method": _OWN_DELIVERY}

OPTIONS: dict[str, Check] = {
    **dict.fromkeys(
        (
            "detect_entities",
            "diarize",
            "dictation",
            "filler_words",
            "intents",
            "measurements",
            "mip_opt_out",
            "multichannel",
            "numerals",
            "paragraphs",
            "profanity_filter",
            "punctuate",
            "sentiment",
            "smart_format",
            "topics",
            "utterances",
        ),
        _boolean,
    ),
    "model": _model,
    "version": _text,
    "language": _language,
    "language_hint": _many(_language),
    "detect_language": _boolean_or(_many(_language)),
    "keyterm": _many(_text),
    "keywords": _many(_text),
    "diarize_model": _one_of("latest", "v1", "v2"),
    "redact": _boolean_or(_many(_matching(r"[A-Za-z0-9_]{1,64}", "a redaction name"))),
    "replace": _many(_pair),
    "search": _many(_text),
    "tag": _many(_tag),
    "extra": _many(_pair),
    "summarize": _boolean_or(_one_of("v2")),
    "custom_topic": _many(_text),
    "custom_topic_mode": _mode,
    "custom_intent": _many(_text),
    "custom_intent_mode": _mode,
    "utt_split": _number(0.01, 60),
    "encoding": _one_of(
        "linear16", "flac", "mulaw", "amr-nb", "amr-wb", "opus", "speex", "g729"
    ),
    "sample_rate": _whole(SAMPLE_RATES[0], SAMPLE_RATES[-1]),
    "channels": _whole(CHANNELS[0], CHANNELS[-1]),
}

# What only prerecorded audio can have: it needs all of it, or another model.
_NEEDS_ALL_OF_IT = {
    "custom_intent",
    "custom_intent_mode",
    "custom_topic",
    "custom_topic_mode",
    "detect_language",
    "intents",
    "measurements",
    "paragraphs",
    "sentiment",
    "summarize",
    "topics",
    "utt_split",
    "utterances",
}
LIVE_OPTIONS: dict[str, Check] = {
    **{name: each for name, each in OPTIONS.items() if name not in _NEEDS_ALL_OF_IT},
    **dict.fromkeys(("interim_results", "no_delay", "vad_events"), _boolean),
    "endpointing": _boolean_or(_whole(1, 60_000)),
    "utterance_end_ms": _whole(1000, 60_000),
    "encoding": _one_of(
        *("linear16", "linear32", "flac", "alaw", "mulaw", "amr-nb", "amr-wb"),
        *("opus", "ogg-opus", "speex", "g729"),
    ),
}
