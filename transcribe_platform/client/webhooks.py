"""Webhooks: endpoints, deliveries, redelivery and recovery."""

from collections.abc import Iterator
from typing import cast

from transcribe_platform.client.calls import ApiRequest
from transcribe_platform.client.resource import Resource
from transcribe_platform.client.shapes import Delivery, Endpoint, Recovery


class Webhooks(Resource):
    """``client.webhooks``."""

    def endpoints(self, *, limit: int = 0) -> Iterator[Endpoint]:
        """Yield endpoints, newest first."""
        return self._iterate("/v1/webhook-endpoints", limit)

    def deliveries(  # noqa: PLR0913  the filters of the API
        self,
        *,
        status: str | None = None,
        type_: str | None = None,
        endpoint_id: str | None = None,
        job_id: str | None = None,
        created_after: str | None = None,
        created_before: str | None = None,
        limit: int = 0,
    ) -> Iterator[Delivery]:
        """Yield deliveries, newest first; ``limit`` 0 yields all."""
        return self._iterate(
            "/v1/webhook-deliveries",
            limit,
            status=status,
            type=type_,
            endpoint_id=endpoint_id,
            job_id=job_id,
            created_after=created_after,
            created_before=created_before,
        )

    def redeliver(self, delivery_id: str) -> Delivery:
        """Send a message again, regardless of its status."""
        path = f"/v1/webhook-deliveries/{delivery_id}/redeliver"
        call = ApiRequest(method="POST", path=path, is_repeatable=False)
        return cast("Delivery", self._transport.request_json(call))

    def recover(
        self, endpoint_id: str, *, since: str, until: str | None = None
    ) -> Recovery:
        """Send all messages again that an endpoint missed in a period."""
        period = {"since": since} | ({"until": until} if until else {})
        path = f"/v1/webhook-endpoints/{endpoint_id}/recover"
        call = ApiRequest(method="POST", path=path, json=period, is_repeatable=False)
        return cast("Recovery", self._transport.request_json(call))

    def recovery(self, endpoint_id: str, recovery_id: str) -> Recovery:
        """Return the progress of a recovery."""
        path = f"/v1/webhook-endpoints/{endpoint_id}/recoveries/{recovery_id}"
        return self._get(Recovery, path)
