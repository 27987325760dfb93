"""Usage reports and quotas."""

from collections.abc import Sequence
from typing import cast

from transcribe_platform.client.calls import Call
from transcribe_platform.client.shapes import Quota, Usage
from transcribe_platform.client.transport import Transport


class UsageReports:
    """``client.usage``."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

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
        call = Call(method="GET", path="/v1/usage", params=params)
        return cast("Usage", self._transport.request_json(call))

    def quotas(self) -> list[Quota]:
        """Return all quotas with their remaining amounts."""
        call = Call(method="GET", path="/v1/usage/quotas")
        return cast("list[Quota]", self._transport.request_json(call)["data"])
