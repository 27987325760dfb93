"""Usage reports and quotas."""

from collections.abc import Sequence

from transcribe_platform.client.resource import Resource
from transcribe_platform.client.shapes import Quota, Usage


class UsageReports(Resource):
    """``client.usage``."""

    def report(
        self,
        *,
        since: str | None = None,
        until: str | None = None,
        group_by: Sequence[str] = ("day",),
    ) -> Usage:
        """Return the totals of a range of UTC days, inclusive; default: this month."""
        params = {"group_by": ",".join(group_by)}
        params |= {"from": since} if since else {}
        params |= {"to": until} if until else {}
        return self._get(Usage, "/v1/usage", params)

    def quotas(self) -> list[Quota]:
        """Return all quotas with their remaining amounts."""
        return self._get(dict[str, list[Quota]], "/v1/usage/quotas")["data"]
