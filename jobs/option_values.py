"""Known values of options that have few: models, languages, redactions. Pure.

Deepgram adds values between two releases of the platform, so an unknown one is a
warning. ``jobs.options`` refuses those that cannot be valid. The values are in
``option_values.toml``.
"""

import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from jobs.parsing.suggestions import hint

UNKNOWN_VALUE = "option_value_unknown"
TABLE = tomllib.loads(Path(__file__).with_suffix(".toml").read_text("utf-8"))
MODELS = frozenset(
    name
    for family, variants in TABLE["models"].items()
    for name in (family, *(f"{family}-{each}" for each in variants))
)
LANGUAGES = frozenset(TABLE["languages"])
REDACTIONS = frozenset(TABLE["redactions"])
UUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_LISTS = {"language_hint": LANGUAGES, "detect_language": LANGUAGES}


def is_custom_model(model: str) -> bool:
    """Return whether this is the id of a custom model."""
    return UUID.fullmatch(model) is not None


def find_warnings(options: Mapping[str, Any]) -> list[dict[str, str]]:
    """Return a warning, with code and sentence, for each unknown value."""
    return [
        {
            "code": UNKNOWN_VALUE,
            "detail": f"The option '{name}' has a value that Deepgram may not know:"
            f" '{value}'.{hint(value, known)}",
        }
        for name, value, known in _checked_values(options)
        if value not in known
    ]


def _checked_values(
    options: Mapping[str, Any],
) -> Iterator[tuple[str, str, frozenset[str]]]:
    model = options.get("model")
    is_flux = model in TABLE["flux_models"]
    if isinstance(model, str) and not is_custom_model(model) and not is_flux:
        yield "model", model, MODELS
    if isinstance(language := options.get("language"), str):
        yield "language", _primary(language), LANGUAGES
    for name, known in _LISTS.items():
        for language in _texts(options.get(name)):
            yield name, _primary(language), known
    for redaction in _texts(options.get("redact")):
        yield "redact", redaction.lower(), REDACTIONS


def _texts(values: Any) -> list[str]:
    return values if isinstance(values, list) else []


def _primary(language: str) -> str:
    return language.partition("-")[0].lower()
