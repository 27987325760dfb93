"""Customers who submit over REST and do not give up: same key until it is accepted."""

import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import httpx

from tests.chaos.platform import Platform
from tests.chaos.receiver import make_tone

PRIORITIES = ("urgent", "high", "normal", "low")
UPLOAD_EVERY = 50  # the probe of an upload costs a process


class Customers:
    """A few threads that submit jobs at a steady pace; refusals stop them all."""

    def __init__(
        self, platform: Platform, *, jobs: int, per_second: float, name: str
    ) -> None:
        self._platform = platform
        self._keys = [f"{name}-{number}" for number in range(jobs)]
        self._per_second = per_second
        self._began = time.monotonic()
        self._stop = threading.Event()
        self._pool = ThreadPoolExecutor(8)
        self._tone = make_tone()
        self._http = httpx.Client(
            base_url=platform.plan.web,
            headers={"authorization": f"Bearer {platform.api_key}"},
            timeout=15,
            trust_env=False,
        )
        self.accepted: dict[str, str] = {}
        self.retries = 0
        self._sent: list[Future[None]] = [
            self._pool.submit(self._submit, number, key)
            for number, key in enumerate(self._keys)
        ]

    def are_done(self) -> bool:
        """Tell whether everything was accepted; raise what no retry can mend."""
        for future in self._sent:
            if future.done():
                future.result()
        return all(future.done() for future in self._sent)

    def close(self) -> None:
        self._stop.set()
        self._pool.shutdown(cancel_futures=True)
        self._http.close()

    def _submit(self, number: int, key: str) -> None:
        due = self._began + number / self._per_second
        self._stop.wait(max(0.0, due - time.monotonic()))
        while not self._stop.is_set():
            job_id = self._try(number, key)
            if job_id:
                self.accepted[key] = job_id
                self._platform.accepted[key] = job_id
                return
            self.retries += 1
            self._stop.wait(0.3)

    def _try(self, number: int, key: str) -> str:
        """Submit once; "" when the platform could not answer."""
        try:
            answer = self._http.post(
                "/v1/jobs", headers={"idempotency-key": key}, **self._content(number)
            )
        except httpx.TransportError:
            return ""
        if answer.status_code >= 500:
            return ""
        if answer.status_code != 202:
            raise AssertionError(f"{answer.status_code}: {answer.text[:500]}")
        return str(answer.json()["id"])

    def _content(self, number: int) -> dict[str, Any]:
        inbox = self._platform.inbox
        plain = {
            "callback_url": inbox.hook_url,
            "priority": PRIORITIES[number % len(PRIORITIES)],
        }
        if number % UPLOAD_EVERY == 0:
            return {"data": plain, "files": {"file": ("tone.wav", self._tone)}}
        return {"json": {**plain, "audio_url": inbox.audio_url}}
