"""Iterates over paginated lists."""

from collections.abc import Iterator, Mapping
from typing import Any

from transcribe_platform.client.calls import Call
from transcribe_platform.client.transport import Transport

PAGE = 100


def iterate(
    transport: Transport, path: str, filters: Mapping[str, str | None], limit: int
) -> Iterator[Any]:
    """Yield rows, newest first; fetches pages on demand. ``limit`` 0 yields all."""
    params = {name: value for name, value in filters.items() if value is not None}
    params["limit"] = str(min(limit or PAGE, PAGE))
    remaining = limit
    while True:
        page = transport.request_json(Call(method="GET", path=path, params=params))
        for row in page["data"]:
            yield row
            remaining -= 1
            if not remaining:
                return
        if not page["has_more"]:
            return
        params["cursor"] = page["next_cursor"]
