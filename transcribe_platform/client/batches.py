"""Batches: many jobs submitted and managed together."""

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, cast

from transcribe_platform.client import uploads
from transcribe_platform.client.calls import ApiRequest
from transcribe_platform.client.errors import WaitedTooLong
from transcribe_platform.client.resource import Resource
from transcribe_platform.client.shapes import Batch, BatchError, BatchResult
from transcribe_platform.client.uploads import AudioFile, Progress

_PATH = "/v1/batches"
_POLL_SECONDS = 1.0
_LONG_SECONDS = 300.0
_GZIP = ".gz"


@dataclass(frozen=True, slots=True, kw_only=True)
class ManifestSettings:
    """Defaults for all lines of a manifest; a line may override them.

    ``skips_bad_lines``: run the valid lines. Otherwise one invalid line rejects all.
    """

    defaults: Mapping[str, Any] = field(default_factory=dict)
    metadata: Mapping[str, Any] = field(default_factory=dict)
    callback_url: str | None = None
    expires_in_seconds: int | None = None
    skips_bad_lines: bool = False
    nonce: str = ""

    def params(self) -> dict[str, str]:
        """Return the settings as query parameters."""
        params = {
            "on_error": "skip" if self.skips_bad_lines else "reject",
            "defaults": json.dumps(self.defaults) if self.defaults else None,
            "metadata": json.dumps(self.metadata) if self.metadata else None,
            "callback_url": self.callback_url,
            "expires_in_seconds": self.expires_in_seconds,
        }
        return {name: str(value) for name, value in params.items() if value is not None}


class Batches(Resource):
    """``client.batches``."""

    def submit(
        self,
        items: Sequence[Mapping[str, Any]],
        *,
        defaults: Mapping[str, Any] | None = None,
        metadata: Mapping[str, Any] | None = None,
        callback_url: str | None = None,
        nonce: str = "",
    ) -> Batch:
        """Submit up to 1,000 URLs as a batch; one invalid item rejects all."""
        settings = {
            "defaults": dict(defaults or {}),
            "metadata": dict(metadata or {}),
            "callback_url": callback_url,
        }
        body: dict[str, Any] = {"items": [dict(item) for item in items]}
        body |= {name: value for name, value in settings.items() if value}
        key = uploads.build_key("batch", body, nonce)
        return self._post(Batch, _PATH, body, key=key)

    def submit_manifest(
        self,
        manifest: AudioFile,
        settings: ManifestSettings | None = None,
        *,
        progress: Progress | None = None,
    ) -> Batch:
        """Upload a manifest (JSONL or CSV, optionally gzip) and return its batch.

        Equal content and settings return the same batch. Raises InvalidRequest, whose
        ``faults`` have line numbers, OSError, FileChanged.
        """
        settings = settings or ManifestSettings()
        params = settings.params()
        key = uploads.build_key("manifest", manifest.sha256, params, settings.nonce)
        call = ApiRequest(
            method="POST",
            path=_PATH,
            params=params,
            headers={
                "Content-Type": _content_type(manifest.path),
                "Content-Length": str(manifest.size_bytes),
                "Idempotency-Key": key,
            },
            body=lambda: manifest.chunks(progress),
            timeout=_LONG_SECONDS,
        )
        return cast("Batch", self._transport.request_json(call))

    def pause(self, batch_id: str) -> Batch:
        """Start no more jobs of the batch until it is resumed."""
        return self._post(Batch, f"{_PATH}/{batch_id}/pause")

    def resume(self, batch_id: str) -> Batch:
        """Resume a paused batch."""
        return self._post(Batch, f"{_PATH}/{batch_id}/resume")

    def cancel(self, batch_id: str) -> Batch:
        """Cancel the jobs that have not ended."""
        return self._post(Batch, f"{_PATH}/{batch_id}/cancel")

    def prioritize(self, batch_id: str, priority: str) -> Batch:
        """Change the priority of the jobs that have not ended."""
        body = {"priority": priority}
        return self._post(Batch, f"{_PATH}/{batch_id}/priority", body)

    def retry(self, batch_id: str, statuses: Sequence[str] = ("failed",)) -> Batch:
        """Return a new batch of the jobs with these statuses; idempotent."""
        body = {"statuses": list(statuses)}
        key = uploads.build_key("retry batch", batch_id, body)
        return self._post(Batch, f"{_PATH}/{batch_id}/retry", body, key=key)

    def get(self, batch_id: str) -> Batch:
        """Return a batch."""
        return self._get(Batch, f"{_PATH}/{batch_id}")

    def results(self, batch_id: str) -> Iterator[BatchResult]:
        """Yield the results so far, in the order of the batch."""
        return self._transport.stream_lines(_list_call(batch_id, "results"))

    def errors(self, batch_id: str) -> Iterator[BatchError]:
        """Yield the rejected items, then the jobs without a transcript."""
        return self._transport.stream_lines(_list_call(batch_id, "errors"))

    def download(
        self,
        batch_id: str,
        format_name: str,
        file: IO[bytes],
        *,
        progress: Progress | None = None,
    ) -> None:
        """Write all available transcripts as one zip file.

        Its last entry, ``manifest.jsonl``, maps files to jobs.
        """
        call = ApiRequest(
            method="GET",
            path=f"{_PATH}/{batch_id}/transcripts.zip",
            params={"format": format_name},
            timeout=_LONG_SECONDS,
        )
        for chunk in self._transport.stream_bytes(call):
            file.write(chunk)
            if progress:
                progress(len(chunk))

    def iterate(self, *, limit: int = 0) -> Iterator[Batch]:
        """Yield batches, newest first; ``limit`` 0 yields all."""
        return self._iterate(_PATH, limit)

    def watch(
        self,
        batch_id: str,
        *,
        timeout: float | None = None,
        sleep: Callable[[float], object] = time.sleep,
    ) -> Iterator[Batch]:
        """Yield the batch every second until it has ended; raises WaitedTooLong."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            batch = self.get(batch_id)
            yield batch
            if batch["finished_at"]:
                return
            if deadline is not None and time.monotonic() + _POLL_SECONDS > deadline:
                raise WaitedTooLong(f"Batch {batch_id} has not ended.")
            sleep(_POLL_SECONDS)


def _list_call(batch_id: str, resource: str) -> ApiRequest:
    return ApiRequest(
        method="GET", path=f"{_PATH}/{batch_id}/{resource}", timeout=_LONG_SECONDS
    )


def _content_type(path: Path) -> str:
    name = path.name.lower()
    if name.endswith(_GZIP):
        return "application/gzip"
    return "text/csv" if name.endswith(".csv") else "application/x-ndjson"
