"""Parsers of query parameters that several lists share; each raises InvalidRequest.

The base view has already refused unknown and repeated parameters.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from uuid import UUID

from django.utils.dateparse import parse_datetime

from jobs.rest.views import refuse_parameter


def parse_choice(
    params: Mapping[str, str], name: str, choices: Sequence[str]
) -> str | None:
    """Return the parameter if it is one of the choices; None if absent."""
    value = params.get(name)
    if value is not None and value not in choices:
        refuse_parameter(name, f"Must be one of {', '.join(choices)}.")
    return value


def parse_id(params: Mapping[str, str], name: str) -> UUID | None:
    """Return the parameter as a UUID; None if absent."""
    text = params.get(name)
    if text is None:
        return None
    try:
        return UUID(text)
    except ValueError:
        refuse_parameter(name, "Must be a UUID.")


def parse_moment(params: Mapping[str, str], name: str) -> datetime | None:
    """Return the parameter as a UTC time; None if absent."""
    text = params.get(name)
    if text is None:
        return None
    try:
        # An unescaped plus sign arrives as a space.
        moment = parse_datetime(text.replace(" ", "+"))
        # PostgreSQL accepts offsets up to 16 hours, Python up to 24.
        in_utc = moment.astimezone(UTC) if moment and moment.tzinfo else None
    except (ValueError, OverflowError):
        in_utc = None
    if in_utc is None:
        refuse_parameter(
            name, "Must be a time with an offset, such as 2026-01-31T12:00:00Z."
        )
    return in_utc
