"""Walk a list page by page."""

from collections.abc import Iterator, Mapping
from typing import Any

from transcribe_platform.client.calls import Call
from transcribe_platform.client.transport import Transport

PAGE = 100


def iterate(
    transport: Transport, path: str, filters: Mapping[str, str | None], limit: int
) -> Iterator[Any]:
    """Yield rows, newest first, asking for the next page when it is needed.

    ``limit`` 0 is all there are.
    """
    asked = {name: value for name, value in filters.items() if value is not None}
    asked["limit"] = str(min(limit or PAGE, PAGE))
    left = limit
    while True:
        page = transport.ask(Call(method="GET", path=path, params=asked))
        for row in page["data"]:
            yield row
            left -= 1
            if not left:
                return
        if not page["has_more"]:
            return
        asked["cursor"] = page["next_cursor"]
