"""Batches: many jobs with one life."""

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, cast

from transcribe_platform.client import lists, uploads
from transcribe_platform.client.calls import Call
from transcribe_platform.client.errors import WaitedTooLong
from transcribe_platform.client.shapes import Batch, BatchError, BatchResult
from transcribe_platform.client.transport import Transport
from transcribe_platform.client.uploads import AudioFile, Progress

_PATH = "/v1/batches"
_LOOK_SECONDS = 1.0
_LONG_SECONDS = 300.0
_GZIP = ".gz"


@dataclass(frozen=True, slots=True, kw_only=True)
class ManifestSettings:
    """What holds for a whole manifest; a line may say otherwise for itself.

    ``skips_bad_lines``: run the good ones; else one bad line refuses all.
    """

    defaults: Mapping[str, Any] = field(default_factory=dict)
    metadata: Mapping[str, Any] = field(default_factory=dict)
    callback_url: str | None = None
    expires_in_seconds: int | None = None
    skips_bad_lines: bool = False
    nonce: str = ""

    def params(self) -> dict[str, str]:
        """Return them as query parameters."""
        said = {
            "on_error": "skip" if self.skips_bad_lines else "reject",
            "defaults": json.dumps(self.defaults) if self.defaults else None,
            "metadata": json.dumps(self.metadata) if self.metadata else None,
            "callback_url": self.callback_url,
            "expires_in_seconds": self.expires_in_seconds,
        }
        return {name: str(value) for name, value in said.items() if value is not None}


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

    def submit_manifest(
        self,
        manifest: AudioFile,
        settings: ManifestSettings | None = None,
        *,
        progress: Progress | None = None,
    ) -> Batch:
        """Upload a manifest (JSONL or CSV, gzip or not) and return its batch.

        The same content and settings again are answered with the same batch. Raises
        InvalidRequest, whose ``faults`` name lines, OSError, FileChanged.
        """
        asked = settings or ManifestSettings()
        params = asked.params()
        key = uploads.build_key("manifest", manifest.sha256, params, asked.nonce)
        call = Call(
            method="POST",
            path=_PATH,
            params=params,
            headers={
                "Content-Type": _type_of(manifest.path),
                "Content-Length": str(manifest.size_bytes),
                "Idempotency-Key": key,
            },
            body=lambda: manifest.chunks(progress),
            timeout=_LONG_SECONDS,
        )
        return cast("Batch", self._transport.ask(call))

    def pause(self, batch_id: str) -> Batch:
        """Begin no more of its jobs until it is resumed."""
        return self._change(batch_id, "pause")

    def resume(self, batch_id: str) -> Batch:
        """Go on with it."""
        return self._change(batch_id, "resume")

    def cancel(self, batch_id: str) -> Batch:
        """Cancel what has not ended yet."""
        return self._change(batch_id, "cancel")

    def prioritize(self, batch_id: str, priority: str) -> Batch:
        """Change the priority of all that has not ended yet."""
        return self._change(batch_id, "priority", {"priority": priority})

    def retry(self, batch_id: str, statuses: Sequence[str] = ("failed",)) -> Batch:
        """Return a new batch of those jobs that ended so, once however often asked."""
        said = {"statuses": list(statuses)}
        key = uploads.build_key("retry batch", batch_id, said)
        call = Call(
            method="POST",
            path=f"{_PATH}/{batch_id}/retry",
            json=said,
            headers={"Idempotency-Key": key},
        )
        return cast("Batch", self._transport.ask(call))

    def _change(self, batch_id: str, verb: str, said: object = None) -> Batch:
        call = Call(method="POST", path=f"{_PATH}/{batch_id}/{verb}", json=said)
        return cast("Batch", self._transport.ask(call))

    def get(self, batch_id: str) -> Batch:
        """Return a batch."""
        call = Call(method="GET", path=f"{_PATH}/{batch_id}")
        return cast("Batch", self._transport.ask(call))

    def results(self, batch_id: str) -> Iterator[BatchResult]:
        """Yield what was transcribed so far, in the order of the batch."""
        return self._transport.stream_lines(_listed(batch_id, "results"))

    def errors(self, batch_id: str) -> Iterator[BatchError]:
        """Yield what was left out at the door, then jobs without a transcript."""
        return self._transport.stream_lines(_listed(batch_id, "errors"))

    def download(
        self,
        batch_id: str,
        format_name: str,
        file: IO[bytes],
        *,
        progress: Progress | None = None,
    ) -> None:
        """Write all transcripts that there are as one zip file.

        Its last entry, ``manifest.jsonl``, says which file is which job's.
        """
        call = Call(
            method="GET",
            path=f"{_PATH}/{batch_id}/transcripts.zip",
            params={"format": format_name},
            timeout=_LONG_SECONDS,
        )
        for piece in self._transport.stream_bytes(call):
            file.write(piece)
            if progress:
                progress(len(piece))

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


def _listed(batch_id: str, what: str) -> Call:
    return Call(method="GET", path=f"{_PATH}/{batch_id}/{what}", timeout=_LONG_SECONDS)


def _type_of(path: Path) -> str:
    name = path.name.lower()
    if name.endswith(_GZIP):
        return "application/gzip"
    return "text/csv" if name.endswith(".csv") else "application/x-ndjson"
