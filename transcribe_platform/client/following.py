"""Learn of the end of many jobs at once, over one event stream or by asking.

A thread of its own listens. Where there is no stream (another kind of server, too many
of them, a proxy that holds them back) it asks for each open job, slowly more rarely.
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
_FIRST_ROUND_SECONDS = 0.5
_LONGEST_ROUND_SECONDS = 5.0
# What ended before anybody watched it: a job can be quicker than its own answer.
_REMEMBERED = 10_000

Ended = Job | ClientError
Tell = Callable[[str, Ended], object]


class Follower:
    """``client.follow()``: ``watch`` jobs, and ``next`` returns them as they end.

    With ``tell`` they are handed to it instead, from the thread that listens.
    """

    def __init__(self, transport: Transport, tell: Tell | None = None) -> None:
        self._transport = transport
        self._tell = tell or self._keep
        self._jobs = Jobs(transport)
        self._lock = threading.Lock()
        self._open: set[str] = set()
        self._early: deque[str] = deque(maxlen=_REMEMBERED)
        self._ended: Queue[tuple[str, Ended]] = Queue()
        self._is_stopped = threading.Event()
        self._is_behind = False
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> "Follower":
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        # It may sit in a read for a while; it holds nothing that has to be put away.
        self._is_stopped.set()

    def watch(self, job_id: str, *, is_new: bool = False) -> None:
        """Tell of this job once it has ended, which it may have already.

        ``is_new``: it was submitted while this was listening, which spares a look.
        """
        with self._lock:
            self._open.add(job_id)
            is_early = job_id in self._early
        if is_early or not is_new:
            self._fetch(job_id)

    def next(self, timeout: float) -> tuple[str, Ended] | None:
        """Return the id of a job that has ended and the job, or None if none has.

        A ClientError stands in the job's place where it cannot be had any more.
        """
        try:
            return self._ended.get(timeout=timeout)
        except Empty:
            return None

    def _run(self) -> None:
        place, pause = "", _FIRST_ROUND_SECONDS
        while not self._is_stopped.is_set():
            began = time.monotonic()
            place = self._listen(place)
            is_short = time.monotonic() - began < _LONGEST_ROUND_SECONDS
            self._sweep()
            if is_short:
                self._is_stopped.wait(pause)
                pause = min(pause * 1.3, _LONGEST_ROUND_SECONDS)
            else:
                pause = _FIRST_ROUND_SECONDS

    def _listen(self, place: str) -> str:
        """Follow one stream to its end and return where to go on."""
        is_new = not place
        try:
            for event in read_stream(
                self._transport, "/v1/events", {"types": _TYPES}, after=place
            ):
                if is_new or self._is_behind:
                    # What ended before it began is not in it.
                    is_new = self._is_behind = False
                    self._sweep()
                place = event.id
                self._take(event)
                if self._is_stopped.is_set():
                    break
        except ApiError:
            return ""  # the place may be what is wrong
        except ClientError:
            pass
        return place

    def _take(self, event: StreamEvent) -> None:
        job_id = event.data.get("job_id")
        if not job_id:
            return
        with self._lock:
            is_ours = job_id in self._open
            if not is_ours:
                self._early.append(job_id)
        if is_ours:
            self._fetch(job_id)

    def _sweep(self) -> None:
        """Ask for every open job."""
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
            self._is_behind = True  # ask again at the stream's next sign of life
            return
        if isinstance(ended, dict) and ended["status"] not in FINAL:
            return
        with self._lock:
            if job_id not in self._open:
                return  # it was told already
            self._open.discard(job_id)
        self._tell(job_id, ended)

    def _keep(self, job_id: str, ended: Ended) -> None:
        self._ended.put((job_id, ended))
