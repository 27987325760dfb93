"""Clients that follow one tenant's events, in a separate process.

`python -m tests.bench.listeners URL KEY NUMBER` prints `ready` once all are connected,
and the arrival times of each event once its input is closed. It reports its own lag.
"""

import asyncio
import json
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any
from urllib.parse import urlsplit

LAG_EVERY = 0.01
CONNECT_SECONDS = 10.0
_HEAD = "GET /v1/events HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {}\r\n\r\n"


class Listening:
    """The process, and its report at the end."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def report(self) -> dict[str, Any]:
        """End it and return what it got."""
        return dict(json.loads(self._process.communicate(timeout=60)[0]))


@contextmanager
def listening(url: str, key: str, number: int) -> Iterator[Listening]:
    """Have so many listen for the block."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.bench.listeners", url, key, str(number)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        output: IO[str] | None = process.stdout
        if output is None or output.readline() != "ready\n":
            raise RuntimeError("The listeners could not connect.")
        yield Listening(process)
    finally:
        process.kill()
        process.wait()


async def _listen(
    url: str, key: str, begun: asyncio.Semaphore, got: dict[str, list[float]]
) -> None:
    address = urlsplit(url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    writer.write(_HEAD.format(address.netloc, key).encode())
    if b" 200 " not in await reader.readline():
        raise RuntimeError("A listener was refused.")
    while line := await reader.readline():
        if line.startswith(b"retry: "):
            begun.release()
        elif line.startswith(b"data: "):
            got[json.loads(line[6:])["id"]].append(time.monotonic())


async def _note_lag(lags: list[float]) -> None:
    while True:
        began = time.monotonic()
        await asyncio.sleep(LAG_EVERY)
        lags.append(time.monotonic() - began - LAG_EVERY)


async def _main(url: str, key: str, number: int) -> None:
    got: dict[str, list[float]] = defaultdict(list)
    lags: list[float] = []
    begun = asyncio.Semaphore(0)
    tasks = []
    for _ in range(number):
        tasks.append(asyncio.create_task(_listen(url, key, begun, got)))
        async with asyncio.timeout(CONNECT_SECONDS):
            await begun.acquire()
    tasks.append(asyncio.create_task(_note_lag(lags)))
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    await asyncio.to_thread(sys.stdin.read)
    for task in tasks:
        task.cancel()
    sys.stdout.write(json.dumps({"got": got, "lags": lags}))


if __name__ == "__main__":
    asyncio.run(_main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
