"""Known values of options that have few: models, languages, redactions. Pure.

Deepgram adds values between two releases of the platform, so an unknown one is a
warning. ``jobs.options`` refuses those that cannot be valid.
https://developers.deepgram.com/docs/models-languages-overview
https://developers.deepgram.com/docs/redaction
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from jobs.suggestions import hint

UNKNOWN_VALUE = "option_value_unknown"
_VARIANTS = {
    "nova-3": "general medical",
    "nova-2": "general meeting phonecall finance conversationalai voicemail video"
    " medical drivethru automotive atc",
    "nova": "general phonecall medical",
    "enhanced": "general meeting phonecall finance",
    "base": "general meeting phonecall finance conversationalai voicemail video",
    "whisper": "tiny base small medium large",
}
MODELS = frozenset(
    name
    for family, variants in _VARIANTS.items()
    for name in (family, *(f"{family}-{each}" for each in variants.split()))
)
# Primary subtags of all models, Whisper's included.
_LANGUAGE_CODES = """
multi af am ar as az ba be bg bn bo br bs ca cs cy da de el en es et eu fa fi fo fr
gl gu ha haw he hi hr ht hu hy id is it ja jw ka kk km kn ko la lb ln lo lt lv mg mi
mk ml mn mr ms mt my ne nl nn no oc pa pl ps pt ro ru sa sd si sk sl sn so sq sr su
sv sw ta taq te tg th tk tl tr tt uk ur uz vi yi yo zh
"""
LANGUAGES = frozenset(_LANGUAGE_CODES.split())
_REDACTION_NAMES = """
pci pii phi numbers aggressive_numbers true false account_number age bank_account
blood_type condition corporate_action credit_card credit_card_expiration cvv date
date_interval day dob dose driver_license drug duration effect email_address event
filename financial_metric gender_sexuality gender healthcare_number injury
ip_address language location location_address location_address_street location_city
location_coordinate location_country location_state location_zip marital_status
medical_code medical_process money month name name_family name_given
name_medical_professional numerical_pii occupation organization organization_id
organization_medical_facility origin passport_number password phone_number
physical_attribute political_affiliation product project religion routing_number
sexuality ssn statistics time trend url username vehicle_id zodiac_sign
"""
REDACTIONS = frozenset(_REDACTION_NAMES.split())
_UUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_LISTS = {"language_hint": LANGUAGES, "detect_language": LANGUAGES}


def is_custom_model(model: str) -> bool:
    """Return whether this is the id of a custom model."""
    return _UUID.fullmatch(model) is not None


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
    if isinstance(model, str) and not is_custom_model(model):
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
