"""The PostgreSQL text search configuration of a language. Pure."""

import re
import tomllib
import unicodedata
from pathlib import Path
from typing import Any

from transcripts.word_times import UNSPACED

SIMPLE = "simple"
# Deepgram's default if none is requested or detected.
DEFAULT_LANGUAGE = "en"
CONFIGS: dict[str, str] = tomllib.loads(
    Path(__file__).with_suffix(".toml").read_text("utf-8")
)
LANGUAGE = re.compile(r"[a-z]{2,8}(?:-[a-z0-9]{1,8}){0,3}")
# Stemmers that also remove prefixes, so that the first letter may change.
PREFIX_STEMMERS = frozenset({"arabic", "indonesian", "irish", "tamil"})
_UNSPACED_CHARACTER = re.compile(f"([{UNSPACED}])")


def language_of(*, detected: str, options: dict[str, Any]) -> str:
    """Return the language of a transcript in lower case, such as ``pt-br``."""
    requested = options.get("language")
    language = detected or (requested if isinstance(requested, str) else "")
    return language.lower() or DEFAULT_LANGUAGE


def config_of(language: str) -> str:
    """Return the text search configuration of a language."""
    return CONFIGS.get(base_of(language), SIMPLE)


def base_of(language: str) -> str:
    """Return the language without region and script."""
    return language.partition("-")[0]


def prepare_by_first_rule(text: str) -> str:
    """Return the text as the first version of the rules did, for its entries.

    In scripts without spaces each character becomes a word, so that a word is a phrase.
    """
    if text.isascii():
        return text.lower()
    folded = unicodedata.normalize("NFKC", text).lower()
    return _UNSPACED_CHARACTER.sub(r" \1 ", folded)
