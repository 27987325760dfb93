"""Customers of all regions: a steady mix of requests, each one's fate kept.

An open loop: requests come when they are due, whatever became of the others. A submit
that was not accepted is sent again under its key, and each sending is a request.
"""

import random
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import httpx

from tests.chaos.receiver import make_tone
from tests.drill.stand import Drill

# Of a hundred requests. Bound: for each region as many, allowed there alone.
MIX = {"submit": 14, "bound": 18, "sync": 2, "read": 40, "list": 6, "transcript": 20}
THREADS = 24
RETRY_SECONDS = 0.3
SUBMITS = {"submit", "bound", "sync"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """One request; ``status`` 0 is no answer at all, ``began`` when it was due."""

    kind: str
    key: str
    due: float
    began: float
    ended: float
    status: int
    error: str
    retry_after: str

    @property
    def failed(self) -> bool:
        """Whether its customer got no good answer."""
        # 409: a transcript that is not there yet.
        good = (200, 201, 202) if self.kind in SUBMITS else (200, 409)
        return self.status not in good


class Load:
    """Requests at a steady rate until `stop`; then what was refused is accepted yet."""

    def __init__(self, drill: Drill, *, per_second: float, seed: int = 1) -> None:
        self._drill = drill
        self._per_second = per_second
        self._chance = random.Random(seed)
        self._pool = ThreadPoolExecutor(THREADS)
        self._stop = threading.Event()
        self._give_up = threading.Event()
        self._tone = make_tone()
        self.sent: list[Sent] = []
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=THREADS)
        self._http = httpx.Client(
            base_url=drill.stand.front,
            headers={"authorization": f"Bearer {drill.api_key}"},
            timeout=30,
            limits=limits,
            trust_env=False,
        )
        self._clock = threading.Thread(target=self._run, daemon=True)
        self._clock.start()

    def stop(self) -> None:
        """Send nothing new; return once all that was refused has been accepted."""
        self._stop.set()
        self._clock.join()
        self._pool.shutdown()
        self._http.close()

    def close(self) -> None:
        """Give up, whatever is not accepted."""
        self._give_up.set()
        self.stop()

    def _run(self) -> None:
        began, number = time.time(), 0
        kinds, weights = list(MIX), list(MIX.values())
        while not self._stop.is_set():
            due = began + number / self._per_second
            self._stop.wait(max(0.0, due - time.time()))
            kind = self._chance.choices(kinds, weights)[0]
            self._pool.submit(self._play, kind, number, due)
            number += 1

    def _play(self, kind: str, number: int, due: float) -> None:
        if kind in SUBMITS:
            self._submit(kind, number, due)
        else:
            self._read(kind, due)

    def _submit(self, kind: str, number: int, due: float) -> None:
        key = f"{kind}-{number}"
        body: dict[str, Any] = {
            "audio_url": self._drill.inbox.audio_url,
            "callback_url": self._drill.inbox.hook_url,
        }
        if kind == "bound":
            region = self._drill.regions[number % len(self._drill.regions)]
            self._drill.bound[key] = region
            body["allowed_regions"] = [region]
        path = "/v1/jobs"
        if kind == "sync":
            path, body["mode"] = "/v1/transcribe", "sync"
        while not self._give_up.is_set():
            headers = {"idempotency-key": key}
            answer = self._ask(kind, due, "POST", path, json=body, headers=headers)
            if answer is not None and answer.is_success:
                location = answer.headers["location"]
                self._drill.accepted[key] = location.rpartition("/")[2]
                return
            self._give_up.wait(RETRY_SECONDS)
            due = time.time()

    def _read(self, kind: str, due: float) -> None:
        known = list(self._drill.accepted.values())[-200:]
        job = random.choice(known) if known else ""
        if kind == "list" or not job:
            self._ask(kind, due, "GET", "/v1/jobs", params={"limit": "5"})
        elif kind == "read":
            self._ask(kind, due, "GET", f"/v1/jobs/{job}")
        else:
            self._ask(kind, due, "GET", f"/v1/transcripts/{job}")

    def _ask(
        self, kind: str, due: float, method: str, path: str, **request: Any
    ) -> httpx.Response | None:
        answer, error, began = None, "", time.time()
        with suppress(httpx.TransportError):
            try:
                answer = self._http.request(method, path, **request)
            except httpx.TransportError as reason:
                error = f"{type(reason).__name__} {reason}"
                raise
            finally:
                self.sent.append(
                    Sent(
                        kind=kind,
                        key=request.get("headers", {}).get("idempotency-key", ""),
                        due=due,
                        began=began,
                        ended=time.time(),
                        status=0 if answer is None else answer.status_code,
                        error=error if answer is None else answer.text[:300],
                        retry_after=(
                            ""
                            if answer is None
                            else answer.headers.get("retry-after", "")
                        ),
                    )
                )
        return answer


def describe(sent: list[Sent]) -> str:
    """Return rate, answers and times in a line."""
    if not sent:
        return "nothing was sent"
    span = max(each.ended for each in sent) - min(each.began for each in sent)
    times = sorted(each.ended - each.began for each in sent)
    lag = sorted(each.began - each.due for each in sent)
    statuses = Counter(each.status for each in sent)
    return (
        f"{len(sent)} requests, {len(sent) / max(span, 1):.0f}/s,"
        f" p50 {_part(times, 0.5):.0f} ms, p99 {_part(times, 0.99):.0f} ms,"
        f" the customers' own lag p99 {_part(lag, 0.99):.0f} ms,"
        f" {dict(sorted(statuses.items()))}"
    )


def _part(values: list[float], share: float) -> float:
    return 1000 * values[min(len(values) - 1, int(share * len(values)))]
