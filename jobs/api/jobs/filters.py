"""Read the query string of a list of jobs, strictly: what is not understood is refused.

Whether a parameter is known at all, and given once, the view base has checked.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Self
from uuid import UUID

from django.utils.dateparse import parse_datetime

from jobs.api.jobs.serializers import METADATA_KEYS, METADATA_LENGTH, PRIORITIES
from jobs.models import Priority
from jobs.queries import JobFilter
from jobs.rest import pagination
from jobs.rest.pagination import PageQuery
from jobs.rest.views import refuse_parameter
from jobs.state import JobStatus
from jobs.strict_json import is_storable

METADATA_PREFIX = "metadata."
PARAMETERS = (
    *pagination.PARAMETERS,
    "status",
    "batch_id",
    "priority",
    "created_after",
    "created_before",
    METADATA_PREFIX,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class JobListQuery:
    """Which page of which jobs is asked for."""

    wanted: JobFilter
    page: PageQuery

    @classmethod
    def parse(cls, params: Mapping[str, str], *, owner: UUID) -> Self:
        """Read the parameters; raises InvalidRequest naming the one it cannot read."""
        return cls(
            wanted=JobFilter(
                status=parse_choice(params, "status", list(JobStatus)) or "",
                batch_id=parse_id(params, "batch_id"),
                priority=_priority(params),
                created_after=parse_moment(params, "created_after"),
                created_before=parse_moment(params, "created_before"),
                metadata=parse_metadata(params),
            ),
            page=PageQuery.parse(params, owner=owner, of="jobs"),
        )


def parse_choice(
    params: Mapping[str, str], name: str, choices: Sequence[str]
) -> str | None:
    """Return the parameter, one of the choices, or None where it is not given."""
    value = params.get(name)
    if value is not None and value not in choices:
        refuse_parameter(name, f"This is one of {', '.join(choices)}.")
    return value


def _priority(params: Mapping[str, str]) -> int | None:
    name = parse_choice(params, "priority", PRIORITIES)
    return Priority[name.upper()] if name else None


def parse_id(params: Mapping[str, str], name: str) -> UUID | None:
    """Return the parameter as an id, or None where it is not given."""
    text = params.get(name)
    if text is None:
        return None
    try:
        return UUID(text)
    except ValueError:
        refuse_parameter(name, "This is an id such as those in the answers.")


def parse_moment(params: Mapping[str, str], name: str) -> datetime | None:
    """Return the time that a parameter names; InvalidRequest for what is none."""
    text = params.get(name)
    if text is None:
        return None
    try:
        # An unescaped plus sign arrives as a space.
        moment = parse_datetime(text.replace(" ", "+"))
        # PostgreSQL takes no offset past 16 hours, Python any below 24.
        in_utc = moment.astimezone(UTC) if moment and moment.tzinfo else None
    except (ValueError, OverflowError):
        in_utc = None
    if in_utc is None:
        refuse_parameter(name, "This is a time such as 2026-01-31T12:00:00Z.")
    return in_utc


def parse_metadata(params: Mapping[str, str]) -> dict[str, str]:
    """Return the pairs that ``metadata.{key}`` asks for, values as text."""
    found = {
        name.removeprefix(METADATA_PREFIX): value
        for name, value in params.items()
        if name.startswith(METADATA_PREFIX)
    }
    for number, (key, value) in enumerate(found.items(), start=1):
        # No job has more of them, and each is a condition on every row.
        is_possible = key and max(len(key), len(value)) <= METADATA_LENGTH
        if not is_possible or not is_storable(key + value) or number > METADATA_KEYS:
            refuse_parameter(METADATA_PREFIX + key, "No metadata has this.")
    return found
