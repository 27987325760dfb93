"""Deepgram's models, their languages, and the values of parameters."""

import tomllib
import uuid
from pathlib import Path
from typing import Any

_TABLES: dict[str, Any] = tomllib.loads(Path(__file__).with_suffix(".toml").read_text())
FAMILIES: dict[str, list[str]] = _TABLES["families"]
FLAGS: frozenset[str] = frozenset(_TABLES["parameters"]["flags"])
CHOICES: dict[str, list[str]] = _TABLES["parameters"]["choices"]
MODELS = {
    f"{family}-{variant}" if variant else family: family
    for family, variants in FAMILIES.items()
    for variant in variants
}
# The older spelling: `model=general&tier=nova`.
TIERS = frozenset({"nova", "enhanced", "base"})

_MULTILINGUAL = frozenset({"nova-2", "nova-3"})
_CUSTOM = "custom"


def find_family(model: str, tier: str) -> str | None:
    """Return the family of a model, "custom" for a UUID, or None if unknown."""
    family = MODELS.get(model)
    if family is None and tier in TIERS:
        family = MODELS.get(f"{tier}-{model}")
    if family is None and _is_uuid(model):
        family = _CUSTOM
    return family


def has_language(family: str, model: str, language: str) -> bool:
    """Return whether the model transcribes this language."""
    if language == "multi":
        return family in _MULTILINGUAL
    return not model.endswith("-medical") or language.partition("-")[0] == "en"


def _is_uuid(text: str) -> bool:
    try:
        uuid.UUID(text)
    except ValueError:
        return False
    return True
