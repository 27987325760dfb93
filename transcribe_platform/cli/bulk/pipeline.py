"""Submits many sources concurrently, waits for the jobs and downloads the results.

The main thread decides and writes output. Worker threads hash, upload and download, and
queue their outcomes for the main thread. An invalid source does not stop the others; an
invalid key or an unreachable platform ends the run, and the same command resumes it.
"""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from queue import Queue
from typing import Protocol

from transcribe_platform.cli.bulk import outputs
from transcribe_platform.cli.bulk.journal import URL_SECONDS, SubmissionJournal
from transcribe_platform.cli.bulk.report import Download
from transcribe_platform.cli.bulk.sources import Source, SourceKind
from transcribe_platform.cli.session import Session, Stopped
from transcribe_platform.client import AudioFile, JobRequest
from transcribe_platform.client.errors import (
    ApiError,
    ClientError,
    Conflict,
    Erased,
    FileChanged,
    InvalidRequest,
    NotFound,
)
from transcribe_platform.client.following import Ended, Follower
from transcribe_platform.client.shapes import FINAL, Job

# Errors of a single source.
_SOURCE_ERRORS = (OSError, FileChanged, Conflict, Erased, NotFound)
_SOURCE_CODES = ("audio_", "upload_", "destination_")
_SOURCE_POINTERS = ("/audio_url", "/file")


class Listener(Protocol):
    """Receives the outcome of each source."""

    def submitted(self, source: Source, job: Job, *, is_resumed: bool) -> None:
        """A job was submitted or found."""

    def completed(self, source: Source, job: Job, result: Download) -> None:
        """The transcript was downloaded."""

    def failed(self, source: Source, error: Exception, job: Job | None = None) -> None:
        """The source failed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The options of a run."""

    request: JobRequest
    formats: Sequence[str]
    out: Path | None
    is_waiting: bool
    retries_failed: bool
    parallel: int


@dataclass(slots=True)
class Pipeline:
    """One run: `run` returns when every source has its outcome."""

    session: Session
    plan: Plan
    journal: SubmissionJournal
    listener: Listener
    on_bytes_sent: Callable[[int], object]
    _tasks: Queue[Callable[[], None]] = field(default_factory=Queue)
    _outcomes: Queue[Callable[[], None]] = field(default_factory=Queue)
    _waiting: dict[str, list[Source]] = field(default_factory=dict)
    _busy: int = 0

    def run(self, sources: Sequence[Source]) -> None:
        """Process all sources; raises the error that ends the run."""
        remaining = deque(sources)
        for _ in range(self.plan.parallel):
            threading.Thread(target=self._work, daemon=True).start()
        with self.session.client.follow(self._put_end) as follower:
            try:
                while remaining or self._busy or self._waiting:
                    while remaining and self._busy < 2 * self.plan.parallel:
                        self._start_submitting(remaining.popleft(), follower)
                    self._outcomes.get()()
            finally:
                self.session.stop.set()

    # --- worker threads

    def _work(self) -> None:
        while not self.session.stop.is_set():
            self._tasks.get()()

    def _put_end(self, job_id: str, ended: Ended) -> None:
        self._outcomes.put(lambda: self._end(job_id, ended))

    def _submit(self, source: Source, follower: Follower) -> None:
        try:
            job, is_old, is_resumed = self._find_or_submit(source)
        except Stopped:
            return
        except Exception as error:  # noqa: BLE001  handled in the main thread
            failure = error
            self._outcomes.put(lambda: self._fail(source, failure))
        else:
            self._outcomes.put(
                lambda: self._submitted(
                    source, job, follower, is_old=is_old, is_resumed=is_resumed
                )
            )

    def _find_or_submit(self, source: Source) -> tuple[Job, bool, bool]:
        """Return the job, whether it existed before, and whether nothing was sent."""
        jobs, request = self.session.client.jobs, self.plan.request
        audio: AudioFile | str = source.name
        max_age = URL_SECONDS
        if source.kind is SourceKind.FILE:
            audio = AudioFile.read(source.path, self._check_stop)
            max_age = 7 * 24 * 3600
        key = jobs.key_of(audio, request)
        known = self._find_known(key, younger_than=max_age)
        if known:
            self._count_bytes(source.size_bytes)
            return known, True, True
        submitted = jobs.submit(
            audio, request, progress=self._build_counter(source.size_bytes)
        )
        job, is_old = submitted.job, submitted.is_replayed
        if is_old:
            job = jobs.get(job["id"])
            job = self._retry_if_failed(job)
        self.journal.record(key, job["id"])
        return job, is_old, is_old

    def _find_known(self, key: str, *, younger_than: float) -> Job | None:
        job_id = self.journal.find(key, younger_than=younger_than)
        if job_id is None:
            return None
        try:
            job = self.session.client.jobs.get(job_id)
        except NotFound:
            return None
        if job["erased_at"]:
            return None
        retried = self._retry_if_failed(job)
        if retried is not job:
            self.journal.record(key, retried["id"])
        return retried

    def _retry_if_failed(self, job: Job) -> Job:
        is_failed = job["status"] in FINAL - {"completed"}
        if is_failed and self.plan.retries_failed:
            return self.session.client.jobs.retry(job["id"])
        return job

    def _fetch(self, source: Source, job: Job) -> None:
        try:
            result = self._read_result(source, job)
        except Stopped:
            return
        except Exception as error:  # noqa: BLE001  handled in the main thread
            failure = error
            self._outcomes.put(lambda: self._fail(source, failure))
        else:
            self._outcomes.put(lambda: self._complete(source, job, result))

    def _read_result(self, source: Source, job: Job) -> Download:
        result = Download()
        for name in self.plan.formats:
            content = self.session.client.transcripts.read(job["id"], name)
            if self.plan.out is None:
                result.documents[name] = content
                continue
            path = outputs.build_path(self.plan.out, source.target, name)
            outputs.write_atomically(path, content)
            result.files.append(path)
        return result

    def _check_stop(self, _number: int) -> None:
        if self.session.stop.is_set():
            raise Stopped

    def _build_counter(self, size_bytes: int) -> Callable[[int], None]:
        """Return a callback that counts a file's bytes once, even if resent."""
        counted = 0

        def count(number: int) -> None:
            nonlocal counted
            self._check_stop(number)
            new_bytes = min(number, size_bytes - counted)
            counted += new_bytes
            self._count_bytes(new_bytes)

        return count

    def _count_bytes(self, number: int) -> None:
        self.on_bytes_sent(number)

    # --- main thread

    def _start_submitting(self, source: Source, follower: Follower) -> None:
        self._busy += 1
        self._tasks.put(lambda: self._submit(source, follower))

    def _submitted(
        self,
        source: Source,
        job: Job,
        follower: Follower,
        *,
        is_old: bool,
        is_resumed: bool,
    ) -> None:
        self._busy -= 1
        self.listener.submitted(source, job, is_resumed=is_resumed)
        if not self.plan.is_waiting:
            return
        others = self._waiting.setdefault(job["id"], [])
        others.append(source)
        if job["status"] in FINAL:
            self._end(job["id"], job)
        elif len(others) == 1:
            follower.watch(job["id"], is_new=not is_old)

    def _end(self, job_id: str, ended: Ended) -> None:
        for source in self._waiting.pop(job_id, []):
            self._end_source(source, ended)

    def _end_source(self, source: Source, ended: Ended) -> None:
        if isinstance(ended, ClientError):
            self._busy += 1
            self._fail(source, ended)
        elif ended["status"] == "completed":
            self._busy += 1
            job = ended
            self._tasks.put(lambda: self._fetch(source, job))
        else:
            error = ClientError(f"The job was {ended['status']}.")
            self.listener.failed(source, error, ended)

    def _complete(self, source: Source, job: Job, result: Download) -> None:
        self._busy -= 1
        self.listener.completed(source, job, result)

    def _fail(self, source: Source, error: Exception) -> None:
        self._busy -= 1
        if not _is_source_error(error):
            raise error
        self.listener.failed(source, error)


def _is_source_error(error: Exception) -> bool:
    """Return whether the error concerns this source only."""
    if isinstance(error, InvalidRequest):
        pointers = [fault.get("pointer", "") for fault in error.faults]
        is_source = pointers and all(p.startswith(_SOURCE_POINTERS) for p in pointers)
        return bool(is_source) or error.code.startswith(_SOURCE_CODES)
    if isinstance(error, ApiError):
        return isinstance(error, _SOURCE_ERRORS)
    return isinstance(error, _SOURCE_ERRORS)
