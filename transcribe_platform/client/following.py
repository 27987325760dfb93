"""Waits for the end of many jobs, with one event stream or by polling.

Runs in a thread. Without a stream (not served, over the limit, or buffered by a proxy)
it polls each open job with growing intervals.
"""

import threading
import time
from collections import deque
from collections.abc import Callable
from queue import Empty, Queue

from transcribe_platform.client.errors import ApiError, ClientError
from transcribe_platform.client.events import StreamEvent, read_stream
from transcribe_platform.client.jobs import Jobs
from transcribe_platform.client.shapes import FINAL, Job
from transcribe_platform.client.transport import Transport

_TYPES = ",".join(sorted(f"job.{status}" for status in FINAL))
_MIN_PAUSE_SECONDS = 0.5
_MAX_PAUSE_SECONDS = 5.0
# A job can end before the response to its submission: jobs to remember.
_MAX_REMEMBERED = 10_000

Ended = Job | ClientError
EndHandler = Callable[[str, Ended], object]


class Follower:
    """``client.follow()``: ``watch`` jobs; ``next`` returns them as they end.

    With ``on_end`` ended jobs are passed to it instead, in the follower's thread.
    """

    def __init__(self, transport: Transport, on_end: EndHandler | None = None) -> None:
        self._transport = transport
        self._on_end = on_end or self._put
        self._jobs = Jobs(transport)
        self._lock = threading.Lock()
        self._open: set[str] = set()
        self._ended_early: deque[str] = deque(maxlen=_MAX_REMEMBERED)
        self._ended: Queue[tuple[str, Ended]] = Queue()
        self._is_stopped = threading.Event()
        self._is_behind = False
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> "Follower":
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        # The daemon thread may block in a read; it needs no cleanup.
        self._is_stopped.set()

    def watch(self, job_id: str, *, is_new: bool = False) -> None:
        """Report this job once it has ended, or at once if it has already.

        ``is_new``: submitted while following; saves a request.
        """
        with self._lock:
            self._open.add(job_id)
            is_early = job_id in self._ended_early
        if is_early or not is_new:
            self._fetch(job_id)

    def next(self, timeout: float) -> tuple[str, Ended] | None:
        """Return the id of an ended job and the job, or None after the timeout.

        If the job cannot be fetched, a ClientError takes its place.
        """
        try:
            return self._ended.get(timeout=timeout)
        except Empty:
            return None

    def _run(self) -> None:
        last_id, pause = "", _MIN_PAUSE_SECONDS
        while not self._is_stopped.is_set():
            started_at = time.monotonic()
            last_id = self._follow_stream(last_id)
            is_short = time.monotonic() - started_at < _MAX_PAUSE_SECONDS
            self._fetch_all()
            if is_short:
                self._is_stopped.wait(pause)
                pause = min(pause * 1.3, _MAX_PAUSE_SECONDS)
            else:
                pause = _MIN_PAUSE_SECONDS

    def _follow_stream(self, last_id: str) -> str:
        """Read one stream to its end and return the id of its last event."""
        is_new = not last_id
        try:
            for event in read_stream(
                self._transport, "/v1/events", {"types": _TYPES}, after=last_id
            ):
                if is_new or self._is_behind:
                    # The stream lacks jobs that ended before it started.
                    is_new = self._is_behind = False
                    self._fetch_all()
                last_id = event.id
                self._handle_event(event)
                if self._is_stopped.is_set():
                    break
        except ApiError:
            return ""  # the event id may be invalid
        except ClientError:
            pass
        return last_id

    def _handle_event(self, event: StreamEvent) -> None:
        job_id = event.data.get("job_id")
        if not job_id:
            return
        with self._lock:
            is_watched = job_id in self._open
            if not is_watched:
                self._ended_early.append(job_id)
        if is_watched:
            self._fetch(job_id)

    def _fetch_all(self) -> None:
        """Fetch every open job."""
        with self._lock:
            ids = list(self._open)
        for job_id in ids:
            if self._is_stopped.is_set():
                return
            self._fetch(job_id)

    def _fetch(self, job_id: str) -> None:
        try:
            ended: Ended = self._jobs.get(job_id)
        except ApiError as error:
            ended = error
        except ClientError:
            self._is_behind = True  # fetch all at the next event of the stream
            return
        if isinstance(ended, dict) and ended["status"] not in FINAL:
            return
        with self._lock:
            if job_id not in self._open:
                return  # reported already
            self._open.discard(job_id)
        self._on_end(job_id, ended)

    def _put(self, job_id: str, ended: Ended) -> None:
        self._ended.put((job_id, ended))
