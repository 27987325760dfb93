"""Parse the query string of a list of jobs; each invalid value raises InvalidRequest.

The base view has already rejected unknown and repeated parameters.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self
from uuid import UUID

from jobs.api.jobs.serializers import MAX_CUSTOM_ID, PRIORITIES
from jobs.models import Mode, Priority
from jobs.parsing.strict_json import is_storable
from jobs.queries import JobFilter
from jobs.rest.filters import parse_choice, parse_id, parse_moment
from jobs.rest.pagination import PageQuery
from jobs.rest.serializers import METADATA_KEYS, METADATA_LENGTH
from jobs.rest.views import refuse_parameter
from jobs.state import JobStatus

METADATA_PREFIX = "metadata."
MAX_NAME = 60  # of regions and error codes


@dataclass(frozen=True, slots=True, kw_only=True)
class JobListQuery:
    """The requested page and filters of a list of jobs."""

    filters: JobFilter
    page: PageQuery

    @classmethod
    def parse(cls, params: Mapping[str, str], *, owner: UUID) -> Self:
        """Parse the parameters; raises InvalidRequest."""
        return cls(
            filters=JobFilter(
                status=parse_choice(params, "status", list(JobStatus)) or "",
                batch_id=parse_id(params, "batch_id"),
                custom_id=_text(params, "custom_id", MAX_CUSTOM_ID),
                mode=parse_choice(params, "mode", list(Mode)) or "",
                region=_text(params, "region", MAX_NAME),
                error_code=_text(params, "error_code", MAX_NAME),
                priority=_priority(params),
                created_after=parse_moment(params, "created_after"),
                created_before=parse_moment(params, "created_before"),
                metadata=parse_metadata(params),
            ),
            page=PageQuery.parse(params, owner=owner, list_name="jobs"),
        )


def _text(params: Mapping[str, str], name: str, max_length: int) -> str:
    """Return the parameter; a text that no row can contain is invalid."""
    value = params.get(name)
    if value is None:
        return ""
    if not 0 < len(value) <= max_length or not is_storable(value):
        refuse_parameter(name, f"Must be text of 1 to {max_length} characters.")
    return value


def _priority(params: Mapping[str, str]) -> int | None:
    name = parse_choice(params, "priority", PRIORITIES)
    return Priority[name.upper()] if name else None


def parse_metadata(params: Mapping[str, str]) -> dict[str, str]:
    """Return the pairs of ``metadata.{key}={value}``; values are text."""
    found = {
        name.removeprefix(METADATA_PREFIX): value
        for name, value in params.items()
        if name.startswith(METADATA_PREFIX)
    }
    for number, (key, value) in enumerate(found.items(), start=1):
        # A job has no more keys, and each one is a condition on every row.
        can_match = key and max(len(key), len(value)) <= METADATA_LENGTH
        if not can_match or not is_storable(key + value) or number > METADATA_KEYS:
            refuse_parameter(
                METADATA_PREFIX + key, "Metadata keys and values cannot match this."
            )
    return found
