"""Parse the query string of a usage report; each invalid value raises InvalidRequest.

The base view has already rejected unknown and repeated parameters.
"""

import re
from collections.abc import Mapping
from datetime import date

from jobs.quotas.usage import GROUPS, UsageQuery
from jobs.rest.views import refuse_parameter

MAX_DAYS = 366
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


def parse_usage_query(params: Mapping[str, str], *, today: date) -> UsageQuery:
    """Parse the parameters; the default is the current month by day.

    Raises InvalidRequest.
    """
    until = _parse_date(params, "to", default=today)
    since = _parse_date(params, "from", default=until.replace(day=1))
    if since > until:
        refuse_parameter("from", "Must not be later than 'to'.")
    if (until - since).days >= MAX_DAYS:
        refuse_parameter("from", f"The range is at most {MAX_DAYS} days.")
    group_by = _parse_groups(params.get("group_by", "day"))
    return UsageQuery(since=since, until=until, group_by=group_by)


def _parse_date(params: Mapping[str, str], name: str, *, default: date) -> date:
    text = params.get(name)
    if text is None:
        return default
    try:
        # fromisoformat alone accepts other formats too.
        day = date.fromisoformat(text) if _DATE.fullmatch(text) else None
    except ValueError:
        day = None
    if day is None:
        refuse_parameter(name, "Must be a UTC date such as 2026-01-31.")
    return day


def _parse_groups(text: str) -> tuple[str, ...]:
    names = tuple(text.split(","))
    if set(names) - set(GROUPS) or len(set(names)) < len(names):
        message = (
            f"Must be a comma-separated list of {', '.join(GROUPS)}, without repeats."
        )
        refuse_parameter("group_by", message)
    return names
