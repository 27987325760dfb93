"""Batches: many jobs with one life."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, cast

from transcribe_platform.client import lists, uploads
from transcribe_platform.client.calls import Call
from transcribe_platform.client.errors import WaitedTooLong
from transcribe_platform.client.shapes import Batch
from transcribe_platform.client.transport import Transport

_PATH = "/v1/batches"
_LOOK_SECONDS = 1.0


class Batches:
    """``client.batches``."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def submit(
        self,
        items: Sequence[Mapping[str, Any]],
        *,
        defaults: Mapping[str, Any] | None = None,
        metadata: Mapping[str, Any] | None = None,
        callback_url: str | None = None,
        nonce: str = "",
    ) -> Batch:
        """Submit up to a thousand URLs at once: all, or none if one is wrong."""
        said = {
            "defaults": dict(defaults or {}),
            "metadata": dict(metadata or {}),
            "callback_url": callback_url,
        }
        body: dict[str, Any] = {"items": [dict(item) for item in items]}
        body |= {name: value for name, value in said.items() if value}
        key = uploads.build_key("batch", body, nonce)
        call = Call(
            method="POST", path=_PATH, headers={"Idempotency-Key": key}, json=body
        )
        return cast("Batch", self._transport.ask(call))

    def get(self, batch_id: str) -> Batch:
        """Return a batch."""
        call = Call(method="GET", path=f"{_PATH}/{batch_id}")
        return cast("Batch", self._transport.ask(call))

    def iterate(self, *, limit: int = 0) -> Iterator[Batch]:
        """Yield batches, newest first; ``limit`` 0 is all."""
        return lists.iterate(self._transport, _PATH, {}, limit)

    def watch(
        self,
        batch_id: str,
        *,
        timeout: float | None = None,
        sleep: Callable[[float], object] = time.sleep,
    ) -> Iterator[Batch]:
        """Yield the batch as it is, every second, and for the last time at its end."""
        end = None if timeout is None else time.monotonic() + timeout
        while True:
            batch = self.get(batch_id)
            yield batch
            if batch["finished_at"]:
                return
            if end is not None and time.monotonic() + _LOOK_SECONDS > end:
                raise WaitedTooLong(f"Batch {batch_id} has not ended.")
            sleep(_LOOK_SECONDS)
