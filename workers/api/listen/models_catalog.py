"""Deepgram's description of its models, from the platform's table of options. Pure.

Without ``languages`` and versions, which Deepgram changes between two releases of the
platform.
"""

from typing import Any
from uuid import NAMESPACE_URL, uuid5

from jobs.option_values import TABLE

_NOT_STREAMED = "whisper"
# The reference documents of models have stable ids; Deepgram's own are not published.
_NAMESPACE = uuid5(NAMESPACE_URL, "https://developers.deepgram.com/docs/model")


def describe_model(family: str, variant: str) -> dict[str, Any]:
    """Return the document of a model (the SDK's ``ListModelsV1ResponseSttModels``)."""
    canonical = f"{family}-{variant}"
    return {
        "name": variant,
        "canonical_name": canonical,
        "architecture": family,
        "version": "latest",
        "uuid": str(uuid5(_NAMESPACE, canonical)),
        "batch": True,
        "streaming": family != _NOT_STREAMED,
        "formatted_output": True,
    }


MODELS = [
    describe_model(family, variant)
    for family, variants in TABLE["models"].items()
    for variant in variants
]


def find_model(name: str) -> dict[str, Any] | None:
    """Return the model of a name or uuid; a family's name is its first variant's."""
    for key in ("uuid", "canonical_name", "architecture"):
        for each in MODELS:
            if each[key] == name:
                return each
    return None
