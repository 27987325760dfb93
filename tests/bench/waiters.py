"""Callers that wait for their transcript, with Deepgram's SDK or at the platform.

Runs as a separate process (`python -m tests.bench.waiters`). It also reports its own
lag, because a slow generator would measure itself.
"""

import http.client
import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit

import httpx
from deepgram import DeepgramClient, DeepgramClientEnvironment

LAG_EVERY = 0.01
Call = Callable[[], None]


def wait_all(
    way: str, url: str, *, audio_url: str, token: str, callers: int, calls: int
) -> dict[str, Any]:
    """Run the callers in their own process and return their report."""
    given = [way, url, audio_url, token, str(callers), str(calls)]
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench.waiters", *given],
        stdout=subprocess.PIPE,
        check=True,
        timeout=300,
    )
    return dict(json.loads(done.stdout))


def by_sdk(url: str, audio_url: str, token: str) -> Call:
    """Return a call of the emulator by the official SDK, on one kept client."""
    environment = DeepgramClientEnvironment(
        base=url, production=url, agent=url, agent_rest=url
    )
    client = DeepgramClient(
        api_key=token,
        environment=environment,
        httpx_client=httpx.Client(timeout=60, trust_env=False),
    )
    media = client.listen.v1.media
    options: Any = {"additional_query_parameters": {"model": "nova-3"}}

    def call() -> None:
        media.transcribe_url(url=audio_url, request_options=options)

    return call


def at_door(url: str, audio_url: str, token: str) -> Call:
    """Return a call of ours on one kept connection."""
    address = urlsplit(url)
    connection = http.client.HTTPConnection(address.netloc, timeout=60)
    body = json.dumps({"audio_url": audio_url, "mode": "sync"}).encode()
    headers = {
        "authorization": f"Bearer {token}",
        "content-type": "application/json",
    }

    def call() -> None:
        connection.request("POST", "/v1/transcribe", body, headers)
        answer = connection.getresponse()
        content = answer.read()
        if answer.status != http.client.OK:
            raise RuntimeError(f"{answer.status} {content[:500]!r}")

    return call


def _time(make: Callable[[], Call], calls: int, wait: float) -> list[float]:
    call = make()
    time.sleep(wait)
    taken = []
    for _ in range(calls):
        began = time.monotonic()
        call()
        taken.append(time.monotonic() - began)
    return taken


def _note_lag(lags: list[float], stop: threading.Event) -> None:
    while not stop.is_set():
        began = time.monotonic()
        time.sleep(LAG_EVERY)
        lags.append(time.monotonic() - began - LAG_EVERY)


def _main(
    way: str, url: str, audio_url: str, token: str, callers: str, calls: str
) -> None:
    make = {"sdk": by_sdk, "door": at_door}[way]
    lags: list[float] = []
    stop = threading.Event()
    threading.Thread(target=_note_lag, args=(lags, stop)).start()
    with ThreadPoolExecutor(int(callers)) as pool:
        running = [
            # Spread over two seconds: all at once would measure a burst.
            pool.submit(
                _time,
                lambda: make(url, audio_url, token),
                int(calls),
                2 * number / int(callers),
            )
            for number in range(int(callers))
        ]
        try:
            seconds = [each for caller in running for each in caller.result()]
        finally:
            stop.set()
    sys.stdout.write(json.dumps({"seconds": seconds, "lags": lags}))


if __name__ == "__main__":
    _main(*sys.argv[1:])
