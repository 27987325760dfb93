"""Read the query string of a usage report, strictly.

Whether a parameter is known at all, and given once, the view base has checked.
"""

import re
from collections.abc import Mapping
from datetime import date

from jobs.quotas.usage import GROUPS, UsageQuery
from jobs.rest.views import refuse_parameter

PARAMETERS = ("from", "to", "group_by", "format")
MAX_DAYS = 366
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


def parse_usage_query(params: Mapping[str, str], *, today: date) -> UsageQuery:
    """Return what is asked for; raises InvalidRequest naming what it cannot read.

    Without any parameter: this month until today, day by day.
    """
    until = _parse_date(params, "to", default=today)
    since = _parse_date(params, "from", default=until.replace(day=1))
    if since > until:
        refuse_parameter("from", "This is no later than 'to'.")
    if (until - since).days >= MAX_DAYS:
        refuse_parameter("from", f"At most {MAX_DAYS} days can be asked for.")
    group_by = _parse_groups(params.get("group_by", "day"))
    return UsageQuery(since=since, until=until, group_by=group_by)


def _parse_date(params: Mapping[str, str], name: str, *, default: date) -> date:
    text = params.get(name)
    if text is None:
        return default
    try:
        # fromisoformat alone takes other forms too.
        read = date.fromisoformat(text) if _DATE.fullmatch(text) else None
    except ValueError:
        read = None
    if read is None:
        refuse_parameter(name, "This is a UTC date such as 2026-01-31.")
    return read


def _parse_groups(text: str) -> tuple[str, ...]:
    names = tuple(text.split(","))
    if set(names) - set(GROUPS) or len(set(names)) < len(names):
        message = f"These are some of {', '.join(GROUPS)}, by commas, each once."
        refuse_parameter("group_by", message)
    return names
