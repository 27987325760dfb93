"""Base class of the client's resources: requests by path, and paginated lists."""

from collections.abc import Iterator, Mapping
from typing import Any, TypeVar, cast

from transcribe_platform.client.calls import ApiRequest
from transcribe_platform.client.transport import Transport

PAGE = 100
Shape = TypeVar("Shape")


class Resource:
    """One part of the API. ``shape`` is the type of the response, unchecked."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def _get(
        self, _shape: type[Shape], path: str, params: Mapping[str, str] | None = None
    ) -> Shape:
        call = ApiRequest(method="GET", path=path, params=params or {})
        return cast("Shape", self._transport.request_json(call))

    def _post(
        self, _shape: type[Shape], path: str, json: object = None, *, key: str = ""
    ) -> Shape:
        """Send a POST that may be repeated, with the Idempotency-Key if any."""
        headers = {"Idempotency-Key": key} if key else {}
        call = ApiRequest(method="POST", path=path, json=json, headers=headers)
        return cast("Shape", self._transport.request_json(call))

    def _iterate(
        self,
        path: str,
        limit: int,
        *,
        metadata: Mapping[str, str] | None = None,
        **filters: str | None,
    ) -> Iterator[Any]:
        """Yield rows, newest first; fetches pages on demand. ``limit`` 0 yields all."""
        params = {name: value for name, value in filters.items() if value is not None}
        params |= {f"metadata.{name}": text for name, text in (metadata or {}).items()}
        params["limit"] = str(min(limit or PAGE, PAGE))
        remaining = limit
        while True:
            page = self._get(dict[str, Any], path, params)
            for row in page["data"]:
                yield row
                remaining -= 1
                if not remaining:
                    return
            if not page["has_more"]:
                return
            params["cursor"] = page["next_cursor"]
