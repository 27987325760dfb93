"""Jobs: submit audio once, look, list, cancel, retry, erase, wait for the end."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from transcribe_platform.client import lists, uploads
from transcribe_platform.client.calls import Call
from transcribe_platform.client.errors import WaitedTooLong
from transcribe_platform.client.requests import JobRequest
from transcribe_platform.client.shapes import FINAL, Attempt, Job
from transcribe_platform.client.transport import Transport, read_json
from transcribe_platform.client.uploads import AudioFile, Progress

_PATH = "/v1/jobs"
_UPLOAD_SECONDS = 300.0  # of silence, not in all
_FIRST_LOOK_SECONDS = 0.25
_LONGEST_LOOK_SECONDS = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Submitted:
    """A job, and whether it was there before: then it may have gone on since."""

    job: Job
    is_replayed: bool


class Jobs:
    """``client.jobs``."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def submit(
        self,
        audio: AudioFile | str,
        request: JobRequest | None = None,
        *,
        progress: Progress | None = None,
    ) -> Submitted:
        """Upload a file, or name a URL; the same again is answered with the same job.

        ``progress`` is called with the number of bytes as they leave, also when they
        have to leave once more. Raises OSError, FileChanged, ApiError, Unreachable.
        """
        asked = request or JobRequest()
        once = {"Idempotency-Key": self.key_of(audio, asked)}
        if isinstance(audio, str):
            said = {"audio_url": audio, **asked.fields()}
            call = Call(method="POST", path=_PATH, headers=once, json=said)
        else:
            form = uploads.build_form(asked.fields(), audio, progress)
            call = Call(
                method="POST",
                path=_PATH,
                headers={**form.headers, **once},
                body=form.body,
                timeout=_UPLOAD_SECONDS,
            )
        answer = self._transport.send(call)
        return Submitted(
            job=cast("Job", read_json(answer)),
            is_replayed=answer.headers.get("Idempotency-Replayed") == "true",
        )

    def submit_file(self, path: Path, request: JobRequest | None = None) -> Job:
        """Upload a file and return its job."""
        return self.submit(AudioFile.read(path), request).job

    def submit_url(self, url: str, request: JobRequest | None = None) -> Job:
        """Have a URL transcribed and return its job."""
        return self.submit(url, request).job

    @staticmethod
    def key_of(audio: AudioFile | str, request: JobRequest) -> str:
        """Return the Idempotency-Key that such a submission has."""
        if isinstance(audio, str):
            return uploads.build_key("url", audio, request.fields(), request.nonce)
        said = (audio.sha256, audio.path.name, request.fields(), request.nonce)
        return uploads.build_key("file", *said)

    def get(self, job_id: str) -> Job:
        """Return a job."""
        call = Call(method="GET", path=f"{_PATH}/{job_id}")
        return cast("Job", self._transport.ask(call))

    def iterate(  # noqa: PLR0913  the filters of the API
        self,
        *,
        status: str | None = None,
        batch_id: str | None = None,
        priority: str | None = None,
        created_after: str | None = None,
        created_before: str | None = None,
        metadata: dict[str, str] | None = None,
        limit: int = 0,
    ) -> Iterator[Job]:
        """Yield jobs, newest first; ``limit`` 0 is all."""
        filters = {
            "status": status,
            "batch_id": batch_id,
            "priority": priority,
            "created_after": created_after,
            "created_before": created_before,
            **{f"metadata.{k}": value for k, value in (metadata or {}).items()},
        }
        return lists.iterate(self._transport, _PATH, filters, limit)

    def attempts(self, job_id: str) -> list[Attempt]:
        """Return the upstream calls of a job, oldest first."""
        call = Call(method="GET", path=f"{_PATH}/{job_id}/attempts")
        return cast("list[Attempt]", self._transport.ask(call)["data"])

    def cancel(self, job_id: str) -> Job:
        """Cancel a job; Conflict if it has ended otherwise."""
        call = Call(method="POST", path=f"{_PATH}/{job_id}/cancel")
        return cast("Job", self._transport.ask(call))

    def retry(self, job_id: str) -> Job:
        """Submit an ended job again, once however often this is called."""
        key = uploads.build_key("retry", job_id)
        call = Call(
            method="POST",
            path=f"{_PATH}/{job_id}/retry",
            headers={"Idempotency-Key": key},
        )
        return cast("Job", self._transport.ask(call))

    def erase(self, job_id: str) -> dict[str, Any]:
        """Erase what an ended job holds and return the receipt."""
        call = Call(method="DELETE", path=f"{_PATH}/{job_id}")
        return cast("dict[str, Any]", self._transport.ask(call))

    def wait(self, job_id: str, *, timeout: float | None = None) -> Job:
        """Return the job once it has ended; raises WaitedTooLong.

        For many jobs at once ``client.follow()`` is the way.
        """
        end = None if timeout is None else time.monotonic() + timeout
        pause = _FIRST_LOOK_SECONDS
        while (job := self.get(job_id))["status"] not in FINAL:
            if end is not None and time.monotonic() + pause > end:
                raise WaitedTooLong(f"Job {job_id} is still {job['status']}.")
            time.sleep(pause)
            pause = min(pause * 1.5, _LONGEST_LOOK_SECONDS)
        return job
