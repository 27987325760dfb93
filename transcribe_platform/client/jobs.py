"""Jobs: submit, get, list, cancel, retry, erase, wait."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from transcribe_platform.client import uploads
from transcribe_platform.client.calls import ApiRequest
from transcribe_platform.client.errors import WaitedTooLong
from transcribe_platform.client.requests import JobRequest
from transcribe_platform.client.resource import Resource
from transcribe_platform.client.shapes import FINAL, Attempt, Job
from transcribe_platform.client.transport import read_json
from transcribe_platform.client.uploads import AudioFile, Progress

_PATH = "/v1/jobs"
_UPLOAD_SECONDS = 300.0  # per read or write, not in total
_MIN_POLL_SECONDS = 0.25
_MAX_POLL_SECONDS = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Submitted:
    """A job; ``is_replayed`` if it existed before: then its status may be outdated."""

    job: Job
    is_replayed: bool


class Jobs(Resource):
    """``client.jobs``."""

    def submit(
        self,
        audio: AudioFile | str,
        request: JobRequest | None = None,
        *,
        progress: Progress | None = None,
    ) -> Submitted:
        """Submit a file or a URL; an equal submission returns the same job.

        ``progress`` is called with the number of bytes of each chunk sent, retries
        included. Raises OSError, FileChanged, ApiError, Unreachable.
        """
        request = request or JobRequest()
        headers = {"Idempotency-Key": self.key_of(audio, request)}
        if isinstance(audio, str):
            body = {"audio_url": audio, **request.fields()}
            call = ApiRequest(method="POST", path=_PATH, headers=headers, json=body)
        else:
            form = uploads.build_form(request.fields(), audio, progress)
            call = ApiRequest(
                method="POST",
                path=_PATH,
                headers={**form.headers, **headers},
                body=form.body,
                timeout=_UPLOAD_SECONDS,
            )
        response = self._transport.send(call)
        return Submitted(
            job=cast("Job", read_json(response)),
            is_replayed=response.headers.get("Idempotency-Replayed") == "true",
        )

    def submit_file(self, path: Path, request: JobRequest | None = None) -> Job:
        """Upload a file and return its job."""
        return self.submit(AudioFile.read(path), request).job

    def submit_url(self, url: str, request: JobRequest | None = None) -> Job:
        """Submit a URL and return its job."""
        return self.submit(url, request).job

    @staticmethod
    def key_of(audio: AudioFile | str, request: JobRequest) -> str:
        """Return the Idempotency-Key of a submission."""
        if isinstance(audio, str):
            return uploads.build_key("url", audio, request.fields(), request.nonce)
        parts = (audio.sha256, audio.path.name, request.fields(), request.nonce)
        return uploads.build_key("file", *parts)

    def get(self, job_id: str) -> Job:
        """Return a job."""
        return self._get(Job, f"{_PATH}/{job_id}")

    def iterate(  # noqa: PLR0913  the filters of the API
        self,
        *,
        status: str | None = None,
        batch_id: str | None = None,
        custom_id: str | None = None,
        mode: str | None = None,
        region: str | None = None,
        error_code: str | None = None,
        priority: str | None = None,
        created_after: str | None = None,
        created_before: str | None = None,
        metadata: dict[str, str] | None = None,
        limit: int = 0,
    ) -> Iterator[Job]:
        """Yield jobs, newest first; ``limit`` 0 yields all."""
        return self._iterate(
            _PATH,
            limit,
            status=status,
            batch_id=batch_id,
            custom_id=custom_id,
            mode=mode,
            region=region,
            error_code=error_code,
            priority=priority,
            created_after=created_after,
            created_before=created_before,
            metadata=metadata,
        )

    def attempts(self, job_id: str) -> list[Attempt]:
        """Return the calls of a job to Deepgram, oldest first."""
        path = f"{_PATH}/{job_id}/attempts"
        return self._get(dict[str, list[Attempt]], path)["data"]

    def cancel(self, job_id: str) -> Job:
        """Cancel a job; raises Conflict if it has ended."""
        return self._post(Job, f"{_PATH}/{job_id}/cancel")

    def retry(self, job_id: str) -> Job:
        """Submit an ended job again; idempotent."""
        key = uploads.build_key("retry", job_id)
        return self._post(Job, f"{_PATH}/{job_id}/retry", key=key)

    def erase(self, job_id: str) -> dict[str, Any]:
        """Erase the content of an ended job and return the receipt."""
        call = ApiRequest(method="DELETE", path=f"{_PATH}/{job_id}")
        return cast("dict[str, Any]", self._transport.request_json(call))

    def wait(self, job_id: str, *, timeout: float | None = None) -> Job:
        """Poll until the job has ended and return it; raises WaitedTooLong.

        For many jobs use ``client.follow()``.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        pause = _MIN_POLL_SECONDS
        while (job := self.get(job_id))["status"] not in FINAL:
            if deadline is not None and time.monotonic() + pause > deadline:
                raise WaitedTooLong(f"Job {job_id} is still {job['status']}.")
            time.sleep(pause)
            pause = min(pause * 1.5, _MAX_POLL_SECONDS)
        return job
