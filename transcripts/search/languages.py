"""Which rules of PostgreSQL's full text search a language has, and text made ready for
them: pure.
"""

import re
import unicodedata
from typing import Any

from transcripts.word_times import UNSPACED

SIMPLE = "simple"
# Deepgram's own default where neither is asked for nor detected.
DEFAULT_LANGUAGE = "en"
# ISO 639-1 to what PostgreSQL 15 has; all others are taken word by word.
CONFIGS = {
    "ar": "arabic",
    "ca": "catalan",
    "da": "danish",
    "de": "german",
    "el": "greek",
    "en": "english",
    "es": "spanish",
    "eu": "basque",
    "fi": "finnish",
    "fr": "french",
    "ga": "irish",
    "hi": "hindi",
    "hu": "hungarian",
    "hy": "armenian",
    "id": "indonesian",
    "it": "italian",
    "lt": "lithuanian",
    "ne": "nepali",
    "nl": "dutch",
    "no": "norwegian",
    "pt": "portuguese",
    "ro": "romanian",
    "ru": "russian",
    "sr": "serbian",
    "sv": "swedish",
    "ta": "tamil",
    "tr": "turkish",
    "yi": "yiddish",
}
LANGUAGE = re.compile(r"[a-z]{2,8}(?:-[a-z0-9]{1,8}){0,3}")
# Stemmers that also take something away in front: no first letter tells their words.
CUT_IN_FRONT = frozenset({"arabic", "indonesian", "irish", "tamil"})
_UNSPACED_CHARACTER = re.compile(f"([{UNSPACED}])")


def language_of(*, detected: str, options: dict[str, Any]) -> str:
    """Return the language of a transcript, in small letters: ``en``, ``pt-br``."""
    asked = options.get("language")
    said = (detected or (asked if isinstance(asked, str) else "")).lower()
    return said or DEFAULT_LANGUAGE


def config_of(language: str) -> str:
    """Return the text search configuration of a language."""
    return CONFIGS.get(base_of(language), SIMPLE)


def base_of(language: str) -> str:
    """Return the language without region or script."""
    return language.partition("-")[0]


def prepare(text: str) -> str:
    """Return the text as it is indexed and asked for: one form, small letters.

    In scripts without spaces each character is a word; a word is a phrase of them.
    """
    if text.isascii():
        return text.lower()
    folded = unicodedata.normalize("NFKC", text).lower()
    return _UNSPACED_CHARACTER.sub(r" \1 ", folded)
