"""Submit many sources, wait for their ends, fetch what came out: all at once, bounded.

One thread decides and speaks; others hash, upload and fetch, and tell it what came of
it through one queue. A source that cannot be transcribed does not stop the others; a
platform that refuses the key or cannot be reached stops all, and the same command
again goes on from there.
"""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from queue import Queue
from typing import Protocol

from transcribe_platform.cli.bulk import outputs
from transcribe_platform.cli.bulk.journal import URL_SECONDS, Journal
from transcribe_platform.cli.bulk.report import Result
from transcribe_platform.cli.bulk.sources import Kind, Source
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

# These are one source's fault, whatever else is in the command.
_OF_SOURCE = (OSError, FileChanged, Conflict, Erased, NotFound)
_SOURCE_CODES = ("audio_", "upload_", "destination_")
_SOURCE_POINTERS = ("/audio_url", "/file")


class Listener(Protocol):
    """Who is told of each source."""

    def submitted(self, source: Source, job: Job, *, is_resumed: bool) -> None:
        """There is a job."""

    def completed(self, source: Source, job: Job, result: Result) -> None:
        """There is a transcript."""

    def failed(self, source: Source, error: Exception, job: Job | None = None) -> None:
        """There will be none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is to be done with each source."""

    request: JobRequest
    formats: Sequence[str]
    out: Path | None
    is_waiting: bool
    retries_failed: bool
    parallel: int


@dataclass(slots=True)
class Pipeline:
    """One run of it."""

    session: Session
    plan: Plan
    journal: Journal
    listener: Listener
    sent: Callable[[int], object]
    _tasks: Queue[Callable[[], None]] = field(default_factory=Queue)
    _news: Queue[Callable[[], None]] = field(default_factory=Queue)
    _waiting: dict[str, list[Source]] = field(default_factory=dict)
    _busy: int = 0

    def run(self, sources: Sequence[Source]) -> None:
        """Work until every source has come to its end; raises what stops all."""
        left = deque(sources)
        for _ in range(self.plan.parallel):
            threading.Thread(target=self._work, daemon=True).start()
        with self.session.client.follow(self._tell_end) as follower:
            try:
                while left or self._busy or self._waiting:
                    while left and self._busy < 2 * self.plan.parallel:
                        self._start_submitting(left.popleft(), follower)
                    self._news.get()()
            finally:
                self.session.stop.set()

    # --- in the other threads

    def _work(self) -> None:
        while not self.session.stop.is_set():
            self._tasks.get()()

    def _tell_end(self, job_id: str, ended: Ended) -> None:
        self._news.put(lambda: self._end(job_id, ended))

    def _submit(self, source: Source, follower: Follower) -> None:
        try:
            job, is_old, is_resumed = self._find_or_submit(source)
        except Stopped:
            return
        except Exception as error:  # noqa: BLE001  told to the thread that decides
            failure = error
            self._news.put(lambda: self._fail(source, failure))
        else:
            self._news.put(
                lambda: self._submitted(
                    source, job, follower, is_old=is_old, is_resumed=is_resumed
                )
            )

    def _find_or_submit(self, source: Source) -> tuple[Job, bool, bool]:
        """Return the job, whether it may have gone on, and whether nothing was sent."""
        jobs, request = self.session.client.jobs, self.plan.request
        audio: AudioFile | str = source.name
        kept = URL_SECONDS
        if source.kind is Kind.FILE:
            audio = AudioFile.read(source.path, self._check_stop)
            kept = 7 * 24 * 3600
        key = jobs.key_of(audio, request)
        known = self._find_known(key, younger_than=kept)
        if known:
            self._count_bytes(source.size_bytes)
            return known, True, True
        sent = jobs.submit(audio, request, progress=self._counter(source.size_bytes))
        job, is_old = sent.job, sent.is_replayed
        if is_old:
            job = jobs.get(job["id"])
            job = self._again_if_failed(job)
        self.journal.keep(key, job["id"])
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
        again = self._again_if_failed(job)
        if again is not job:
            self.journal.keep(key, again["id"])
        return again

    def _again_if_failed(self, job: Job) -> Job:
        is_bad = job["status"] in FINAL - {"completed"}
        if is_bad and self.plan.retries_failed:
            return self.session.client.jobs.retry(job["id"])
        return job

    def _fetch(self, source: Source, job: Job) -> None:
        try:
            result = self._read_result(source, job)
        except Stopped:
            return
        except Exception as error:  # noqa: BLE001  told to the thread that decides
            failure = error
            self._news.put(lambda: self._fail(source, failure))
        else:
            self._news.put(lambda: self._complete(source, job, result))

    def _read_result(self, source: Source, job: Job) -> Result:
        result = Result()
        for name in self.plan.formats:
            content = self.session.client.transcripts.read(job["id"], name)
            if self.plan.out is None:
                result.documents[name] = content
                continue
            path = outputs.path_of(self.plan.out, source.target, name)
            outputs.write_whole(path, content)
            result.files.append(path)
        return result

    def _check_stop(self, _number: int) -> None:
        if self.session.stop.is_set():
            raise Stopped

    def _counter(self, size_bytes: int) -> Callable[[int], None]:
        """Count a file's bytes once, also when they have to leave twice."""
        counted = 0

        def count(number: int) -> None:
            nonlocal counted
            self._check_stop(number)
            fresh = min(number, size_bytes - counted)
            counted += fresh
            self._count_bytes(fresh)

        return count

    def _count_bytes(self, number: int) -> None:
        self.sent(number)

    # --- in the thread that decides

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
            said = ClientError(f"The job was {ended['status']}.")
            self.listener.failed(source, said, ended)

    def _complete(self, source: Source, job: Job, result: Result) -> None:
        self._busy -= 1
        self.listener.completed(source, job, result)

    def _fail(self, source: Source, error: Exception) -> None:
        self._busy -= 1
        if not _is_of_source(error):
            raise error
        self.listener.failed(source, error)


def _is_of_source(error: Exception) -> bool:
    """Tell a fault of one source from one that every other would meet as well."""
    if isinstance(error, InvalidRequest):
        pointers = [fault.get("pointer", "") for fault in error.faults]
        is_there = pointers and all(p.startswith(_SOURCE_POINTERS) for p in pointers)
        return bool(is_there) or error.code.startswith(_SOURCE_CODES)
    if isinstance(error, ApiError):
        return isinstance(error, _OF_SOURCE)
    return isinstance(error, _OF_SOURCE)
