"""Deepgram options of a job: names, types, and combinations that always fail. Pure.

A table, because it changes often. Rules that only Deepgram knows (which model supports
which language) are left to Deepgram; ``option_values`` warns of unknown values.
https://developers.deepgram.com/reference/speech-to-text/listen-pre-recorded
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from itertools import islice
from typing import Any, NoReturn

from jobs.errors import InvalidRequest
from jobs.option_values import MODELS, REDACTIONS, TABLE, UUID, is_custom_model
from jobs.parsing import suggestions
from jobs.parsing.strict_json import pointer_to

MAX_ITEMS = 100
MAX_TEXT = 1000
MAX_TAG = 128
# Of ignored options; more are ignored without one.
MAX_WARNINGS = 20
# Of audio without a header; also the limits for a WAV stream's header.
SAMPLE_RATES = range(1000, 384_000 + 1)
MAX_TRACKS = 256
CHANNELS = range(1, 64 + 1)
# Words that programs write for a boolean or for no value: never a name.
_NO_NAMES = frozenset(
    ["true", "false", "yes", "no", "on", "off", "none", "null", "nan", "nil"]
)

Schema = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Check:
    """Returns the value to store or raises _InvalidValue; with the same as a schema."""

    parse: Callable[[Any], Any]
    schema: Schema

    def __call__(self, value: Any) -> Any:
        """Return the value to store."""
        return self.parse(value)


def _accepts(**schema: Any) -> Callable[[Callable[[Any], Any]], Check]:
    """Decorate a check with the JSON schema of what it accepts."""
    return lambda parse: Check(parse, schema)


class _InvalidValue(ValueError):
    """A value has the wrong type; the text completes "This option must be …"."""


class UnknownOptions(StrEnum):
    """What is done with options that the platform does not know."""

    REFUSE = "refuse"
    IGNORE = "ignore"
    # To Deepgram, unchecked.
    PASS = "pass"  # noqa: S105  no password


def find_ignored(
    names: Iterable[str],
    policy: UnknownOptions,
    known: "Mapping[str, Check] | None" = None,
) -> list[str]:
    """Return the names to ignore; ``known`` are by default those of prerecorded audio.

    Options of the other kinds of audio count as unknown, but are never passed.
    """
    known = OPTIONS if known is None else known
    if policy == UnknownOptions.REFUSE:
        return []
    return [
        name
        for name in names
        if name not in known
        and name not in REFUSED
        and not (policy == UnknownOptions.PASS and _is_passable(name))
    ]


def warn_of_ignored(names: Iterable[str], *, of: str) -> list[dict[str, str]]:
    """Return a warning, with code and sentence, for each ignored option.

    ``of`` is what the request transcribes: prerecorded audio, a stream …
    """
    others = {**OPTIONS, **LIVE_OPTIONS}
    return [
        {
            "code": "option_ignored",
            "detail": f"The option '{_show(name)}' is "
            + (f"not for {of}" if name in others else "unknown")
            + " and was ignored.",
        }
        for name in islice(names, MAX_WARNINGS)
    ]


def _show(name: str) -> str:
    """Return a name that clients chose, as text that can be stored."""
    return "".join(c for c in name[:MAX_TAG] if c.isprintable())


def check_options(
    options: Mapping[str, Any], *, policy: UnknownOptions = UnknownOptions.REFUSE
) -> dict[str, Any]:
    """Return the options to store; single values of list options become lists.

    An option that is null is not given. Raises InvalidRequest for the first unknown
    option, unless the policy passes it, or wrong type.
    """
    return {
        name: _check_option(name, value, OPTIONS, policy)
        for name, value in options.items()
        if value is not None or name not in OPTIONS
    }


def build_schema() -> Schema:
    """Return the JSON schema of a prerecorded job's options; null is not given."""
    properties = {
        name: {"anyOf": [check.schema, {"type": "null"}]}
        for name, check in sorted(OPTIONS.items())
    }
    return {"type": "object", "properties": properties, "additionalProperties": False}


def check_live_combination(options: Mapping[str, Any]) -> None:
    """Raise InvalidRequest for stream options that always fail together."""
    check_combination(options)
    if "sample_rate" in options and "encoding" not in options:
        reason = "needs 'encoding': audio in a container states its sample rate"
        _refuse_pair("sample_rate", reason)
    if "utterance_end_ms" in options and options.get("interim_results") is False:
        _refuse_pair("utterance_end_ms", "needs 'interim_results'")


def select_live_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options that streams support; defaults may contain others."""
    return {
        name: each
        for name, each in options.items()
        if name in LIVE_OPTIONS or name not in OPTIONS
    }


def is_flux(model: object) -> bool:
    """Return whether the model is one of Flux."""
    return model in TABLE["flux_models"]


def select_flux_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options that Flux supports; defaults may contain others."""
    return {
        name: each
        for name, each in options.items()
        if name in FLUX_OPTIONS or _is_passable(name)
    }


def check_values(
    values: Mapping[str, Any], known: "Mapping[str, Check]"
) -> dict[str, Any]:
    """Return the checked values of known options; raises InvalidRequest."""
    return {
        name: _check_option(name, value, known, UnknownOptions.REFUSE)
        for name, value in values.items()
    }


def check_flux_options(
    values: Mapping[str, Sequence[str]], policy: UnknownOptions
) -> dict[str, Any]:
    """Parse the options of a Flux stream; raises InvalidRequest."""
    model = values.get("model", [""])[0]
    if not is_flux(model):
        names = ", ".join(TABLE["flux_models"])
        _refuse_pair("model", f"must be one of {names} on /v2/listen")
    return {
        name: _read_candidates(name, each, FLUX_OPTIONS, policy)
        for name, each in values.items()
    }


def check_combination(options: Mapping[str, Any]) -> None:
    """Raise InvalidRequest for options that always fail together.

    Pass the options of the call: the request's merged with the defaults.
    """
    model = str(options.get("model", ""))
    is_nova_3 = model.startswith("nova-3")
    takes_keyterm = is_nova_3 or is_custom_model(model) or is_flux(model)
    if "keyterm" in options and not takes_keyterm:
        _refuse_pair("keyterm", "needs a nova-3 model; older ones use 'keywords'")
    if "keywords" in options and (is_nova_3 or model.startswith("whisper")):
        _refuse_pair("keywords", "is not for nova-3 (which uses 'keyterm') or whisper")
    is_multi = options.get("language") == "multi"
    takes_hint = (is_nova_3 and is_multi) or model == "flux-general-multi"
    if "language_hint" in options and not takes_hint:
        _refuse_pair("language_hint", "needs a nova-3 model and language=multi")
    if "encoding" in options and "sample_rate" not in options:
        _refuse_pair("encoding", "needs 'sample_rate': it describes headerless audio")


def check_combination_for_url(options: Mapping[str, Any]) -> None:
    """Raise InvalidRequest for options that need an upload."""
    if "audio_track" in options:
        reason = (
            "needs an upload: Deepgram fetches a URL itself and transcribes the audio"
            " track of its own choice"
        )
        _refuse_pair("audio_track", reason)


def read_text(
    name: str,
    values: Sequence[str],
    *,
    live: bool = False,
    policy: UnknownOptions = UnknownOptions.REFUSE,
) -> Any:
    """Parse an option of a query string; return the value to store.

    Raises InvalidRequest as ``check_options`` does.
    """
    known = LIVE_OPTIONS if live else OPTIONS
    return _read_candidates(name, values, known, policy)


def _read_candidates(
    name: str,
    values: Sequence[str],
    known: "Mapping[str, Check]",
    policy: UnknownOptions,
) -> Any:
    *others, last = _parse_candidates(values)
    for candidate in others:
        with suppress(InvalidRequest):
            return _check_option(name, candidate, known, policy)
    return _check_option(name, last, known, policy)


def _parse_candidates(values: Sequence[str]) -> Iterator[Any]:
    """Yield the possible values of the text; the option's check decides."""
    if len(values) == 1:
        (text,) = values
        plain = text.strip()
        # Excel writes TRUE, pandas True; a column with gaps turns 2 into 2.0.
        if plain.lower() in {"true", "false"}:
            yield plain.lower() == "true"
        if re.fullmatch(r"[0-9]{1,9}(?:\.0{1,9})?", plain):
            yield int(plain.partition(".")[0])
        if re.fullmatch(r"[0-9]{0,9}\.[0-9]{1,9}", plain):
            yield float(plain)
        yield text
    else:
        yield list(values)


def _check_option(
    name: str, value: Any, known: "Mapping[str, Check]", policy: UnknownOptions
) -> Any:
    pointer = pointer_to("options", name)
    if name in REFUSED:
        raise InvalidRequest(REFUSED[name], code="option_refused", pointer=pointer)
    is_passed = policy == UnknownOptions.PASS and _is_passable(name)
    check = known.get(name, _any_value if is_passed else None)
    if check is None:
        message = f"Unknown option.{suggestions.hint(name, known)}"
        raise InvalidRequest(message, code="option_unknown", pointer=pointer)
    try:
        return check(value)
    except _InvalidValue as error:
        message = f"This option must be {error}."
        raise InvalidRequest(message, code="option_invalid", pointer=pointer) from None


def _is_passable(name: str) -> bool:
    """Return whether this may be a new option of Deepgram's."""
    is_known = name in OPTIONS or name in LIVE_OPTIONS
    return not is_known and re.fullmatch("[a-z][a-z0-9_]{0,63}", name) is not None


def _any_value(value: Any) -> Any:
    items = value if isinstance(value, list) else [value]
    if not 0 < len(items) <= MAX_ITEMS or not all(
        isinstance(each, bool | int | float | str) and len(str(each)) <= MAX_TEXT
        for each in items
    ):
        raise _InvalidValue("text, a number, true or false, or a list of these")
    return value


def _refuse_pair(name: str, reason: str) -> NoReturn:
    message = f"The option '{name}' {reason}."
    pointer = pointer_to("options", name)
    raise InvalidRequest(message, code="option_conflict", pointer=pointer)


@_accepts(type="boolean")
def _boolean(value: Any) -> bool:
    if not isinstance(value, bool):
        raise _InvalidValue("true or false")
    return value


@_accepts(type="string", minLength=1, maxLength=MAX_TEXT)
def _text(value: Any) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= MAX_TEXT:
        raise _InvalidValue(f"text of 1 to {MAX_TEXT} characters")
    return value


def _to_ecma(pattern: str) -> str:
    """Return the pattern without what JavaScript's regular expressions lack."""
    return pattern.removeprefix(r"\A").replace("}+", "}")


def _matching(pattern: str, description: str) -> Check:
    compiled = re.compile(pattern)

    @_accepts(type="string", pattern=f"^(?:{_to_ecma(pattern)})$")
    def check(value: Any) -> str:
        if not isinstance(value, str) or not compiled.fullmatch(value):
            raise _InvalidValue(description)
        return value

    return check


def _one_of(*values: str) -> Check:
    @_accepts(type="string", enum=list(values))
    def check(value: Any) -> str:
        if not isinstance(value, str) or value not in values:
            raise _InvalidValue(f"one of {', '.join(values)}")
        return value

    return check


def _number(low: float, high: float) -> Check:
    @_accepts(type="number", minimum=low, maximum=high)
    def check(value: Any) -> float:
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if not is_number or not low <= value <= high:
            raise _InvalidValue(f"a number from {low:g} to {high:g}")
        return float(value)

    return check


def _integer(low: int, high: int) -> Check:
    @_accepts(type="integer", minimum=low, maximum=high)
    def check(value: Any) -> int:
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        is_whole = isinstance(value, int) and not isinstance(value, bool)
        if not is_whole or not low <= value <= high:
            raise _InvalidValue(f"a whole number from {low} to {high}")
        return int(value)

    return check


def _list_of(item: Check) -> Check:
    """A list of such items; a single item becomes a list."""

    items = {"type": "array", "items": item.schema, "minItems": 1}

    @_accepts(anyOf=[item.schema, {**items, "maxItems": MAX_ITEMS}])
    def check(value: Any) -> list[Any]:
        items = value if isinstance(value, list) else [value]
        if not 0 < len(items) <= MAX_ITEMS:
            raise _InvalidValue(f"a list of 1 to {MAX_ITEMS} items")
        return [item(each) for each in items]

    return check


def _boolean_or(other: Check) -> Check:
    @_accepts(anyOf=[{"type": "boolean"}, other.schema])
    def check(value: Any) -> Any:
        return value if isinstance(value, bool) else other(value)

    return check


_MODEL = re.compile(
    r"(?:nova-3|nova-2|nova|enhanced|base|whisper)(?:-[a-z0-9-]{1,40})?"
)


@_accepts(type="string", pattern=f"^(?:{_MODEL.pattern}|{UUID.pattern})$")
def _model(value: Any) -> str:
    if isinstance(value, str) and (_MODEL.fullmatch(value) or is_custom_model(value)):
        return value
    description = (
        "a Deepgram model such as nova-3 or nova-2-phonecall, or a custom model's id"
    )
    raise _InvalidValue(_with_hint(description, value, MODELS))


@_accepts(
    type="string",
    pattern=r"^(?![0-9]+$)[A-Za-z0-9_]{1,64}$",
    **{"not": {"enum": sorted(_NO_NAMES)}},
)
def _redaction(value: Any) -> str:
    is_name = isinstance(value, str) and re.fullmatch(r"[A-Za-z0-9_]{1,64}", value)
    if is_name and value.lower() not in _NO_NAMES and not value.isdigit():
        return str(value)
    raise _InvalidValue(
        _with_hint("true, false, or redaction names such as pci", value, REDACTIONS)
    )


def _with_hint(description: str, value: Any, known: Iterable[str]) -> str:
    text = value if isinstance(value, str) else ""
    found = suggestions.closest(text, known)
    return f"{description}; did you mean '{found}'" if found else description


_language = _matching(
    r"multi|[A-Za-z]{2,3}(?:-[A-Za-z0-9]{2,8}){0,2}",
    "a BCP-47 language tag such as en or pt-BR",
)
_pair = _matching(r"\A[^:]{1,500}+:.{0,500}", "text of the form key:value")
# The platform adds tags ``job:…`` to find calls in Deepgram's request log.
_tag = _matching(
    rf"(?!job:).{{1,{MAX_TAG}}}",
    f"text of 1 to {MAX_TAG} characters that does not begin with job:",
)
_mode = _one_of("extended", "strict")
_OWN_DELIVERY = "The platform delivers results itself: set the job's callback_url."

# Options that the platform carries out itself and does not send to Deepgram.
OWN = frozenset({"audio_track"})
REFUSED = {"callback": _OWN_DELIVERY, "callback_method": _OWN_DELIVERY}

OPTIONS: dict[str, Check] = {
    **dict.fromkeys(TABLE["flags"], _boolean),
    "model": _model,
    "version": _text,
    "language": _language,
    "language_hint": _list_of(_language),
    "detect_language": _boolean_or(_list_of(_language)),
    "keyterm": _list_of(_text),
    "keywords": _list_of(_text),
    "diarize_model": _one_of("latest", "v1", "v2"),
    "redact": _boolean_or(_list_of(_redaction)),
    "replace": _list_of(_pair),
    "search": _list_of(_text),
    "tag": _list_of(_tag),
    "extra": _list_of(_pair),
    "summarize": _boolean_or(_one_of("v2")),
    "custom_topic": _list_of(_text),
    "custom_topic_mode": _mode,
    "custom_intent": _list_of(_text),
    "custom_intent_mode": _mode,
    "utt_split": _number(0.01, 60),
    "encoding": _one_of(*TABLE["encodings"]),
    # The platform's own: which audio track of an upload is sent, from 1.
    "audio_track": _integer(1, MAX_TRACKS),
    "sample_rate": _integer(SAMPLE_RATES[0], SAMPLE_RATES[-1]),
    "channels": _integer(CHANNELS[0], CHANNELS[-1]),
}

THRESHOLDS = frozenset({"eager_eot_threshold", "eot_threshold", "eot_timeout_ms"})
# Of Flux, whose streams have turns (/v2/listen).
FLUX_OPTIONS: dict[str, Check] = {
    **{name: OPTIONS[name] for name in TABLE["flux_shared"]},
    **dict.fromkeys(("keyterm", "redact"), _list_of(_text)),
    "model": _one_of(*TABLE["flux_models"]),
    "encoding": _one_of(*TABLE["live_encodings"]),
    "eager_eot_threshold": _number(0.3, 0.9),
    "eot_threshold": _number(0.5, 1),
    "eot_timeout_ms": _integer(500, 60_000),
}

LIVE_OPTIONS: dict[str, Check] = {
    **{
        name: each
        for name, each in OPTIONS.items()
        if name not in TABLE["prerecorded_only"]
    },
    **dict.fromkeys(TABLE["live_flags"], _boolean),
    "endpointing": _boolean_or(_integer(1, 60_000)),
    "utterance_end_ms": _integer(1000, 60_000),
    "encoding": _one_of(*TABLE["live_encodings"]),
}
