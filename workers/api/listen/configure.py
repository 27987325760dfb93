"""Parse Deepgram's ``Configure``, which changes options of an open stream. Pure.

Only key terms and formatting can change: privacy and redaction are fixed when the
stream opens.
"""

from typing import Any, NoReturn

from jobs import options
from jobs.errors import InvalidRequest
from workers.api.live.wire_format import (
    ConfigureRequest,
    ServerMessage,
    build_configure_failure,
)

_FIELDS = {"type", "keyterms", "features"}
_FLUX_FIELDS = {"language_hints": "language_hint", "numerals": "numerals"}
# The formatting that may be switched.
_FEATURES = {
    *("dictation", "filler_words", "measurements", "numerals", "profanity_filter"),
    *("punctuate", "smart_format"),
}


def parse_configure(data: dict[str, Any]) -> ConfigureRequest | ServerMessage:
    """Return the change, or the failure to send."""
    try:
        changed = {**_read_keyterms(data), **_read_features(data)}
    except InvalidRequest as error:
        return build_configure_failure("CONFIGURE_INVALID", error.message)
    return ConfigureRequest(message=data, options=changed)


def parse_flux_configure(data: dict[str, Any]) -> ConfigureRequest | ServerMessage:
    """Return the change of a Flux stream, or the failure to send."""
    try:
        changed = {**_read_keyterms(data), **_read_thresholds(data)}
    except InvalidRequest as error:
        return build_configure_failure("INVALID_CONFIGURATION", error.message)
    return ConfigureRequest(message=data, options=changed)


def _read_thresholds(data: dict[str, Any]) -> dict[str, Any]:
    thresholds = data.get("thresholds") or {}
    if not isinstance(thresholds, dict):
        _refuse("The thresholds must be an object of numbers.")
    others = {
        option: data[name]
        for name, option in _FLUX_FIELDS.items()
        if data.get(name) is not None
    }
    for name in [
        *(set(data) - {"type", "keyterms", "thresholds", *_FLUX_FIELDS}),
        *(set(thresholds) - options.THRESHOLDS),
    ]:
        _refuse(f"{name!r} cannot change in an open stream.")
    return options.check_values({**thresholds, **others}, options.FLUX_OPTIONS)


def _read_keyterms(data: dict[str, Any]) -> dict[str, Any]:
    keyterms = data.get("keyterms")
    if keyterms is None:
        return {}
    if not isinstance(keyterms, list):
        _refuse("The keyterms must be a list of texts.")
    # An empty list removes the key terms.
    return options.check_options({"keyterm": keyterms}) if keyterms else {"keyterm": []}


def _read_features(data: dict[str, Any]) -> dict[str, Any]:
    features = data.get("features") or {}
    if not isinstance(features, dict):
        _refuse("The features must be an object of booleans.")
    for name in [*(set(data) - _FIELDS), *(set(features) - _FEATURES)]:
        _refuse(f"{name!r} cannot change in an open stream.")
    return options.check_options(features)


def _refuse(message: str) -> NoReturn:
    raise InvalidRequest(message)
