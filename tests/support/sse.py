"""A client of event streams for tests: reads a real socket, block by block."""

import http.client
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

WAIT_SECONDS = 15.0


@dataclass(slots=True)
class Block:
    """What stands between two empty lines."""

    fields: dict[str, str] = field(default_factory=dict)
    comment: str = ""

    @property
    def type(self) -> str:
        return self.fields.get("event", "")

    @property
    def id(self) -> str:
        return self.fields["id"]

    @property
    def data(self) -> Any:
        return json.loads(self.fields["data"])


class Stream:
    """One request, and what comes of it."""

    def __init__(
        self,
        port: int,
        path: str,
        *,
        key: str,
        headers: dict[str, str] | None = None,
        method: str = "GET",
    ) -> None:
        self.connection = http.client.HTTPConnection(
            "127.0.0.1", port, timeout=WAIT_SECONDS
        )
        given = {"Authorization": f"Bearer {key}", **(headers or {})}
        self.connection.request(method, path, headers=given)
        self.response = self.connection.getresponse()
        self.status = self.response.status

    def __enter__(self) -> "Stream":
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def blocks(self) -> Iterator[Block]:
        """Yield what comes until the stream ends."""
        block = Block()
        while line := self.response.readline().decode():
            text = line.rstrip("\n")
            if not text:
                yield block
                block = Block()
            elif text.startswith(":"):
                block.comment = text[1:].strip()
            else:
                name, _, value = text.partition(": ")
                block.fields[name] = value

    def events(self) -> Iterator[Block]:
        """Yield what a browser would hand on."""
        return (block for block in self.blocks() if "data" in block.fields)

    def next(self, number: int = 1) -> list[Block]:
        """Return so many events, waiting for them."""
        events = self.events()
        return [next(events) for _ in range(number)]

    def begin(self) -> Block:
        """Return the first block, which says where the stream begins."""
        return next(self.blocks())

    def close(self) -> None:
        self.response.close()
        self.connection.close()
