"""Sends POSTs over persistent connections and reports their latencies.

Runs as a separate process (`python -m tests.bench.load`). It also reports its own lag
and CPU share, because a slow generator would measure itself.
"""

import argparse
import asyncio
import itertools
import json
import subprocess
import sys
import time
from dataclasses import dataclass, field
from typing import Any, TypedDict
from urllib.parse import urlsplit

LAG_EVERY = 0.01


class Report(TypedDict):
    """What the generator sent and observed; times in seconds."""

    took: float
    seconds: list[float]
    ids: list[str]
    refused: int
    cpu_share: float
    lags: list[float]


@dataclass(slots=True)
class Run:
    """What is to be sent, and what came of it."""

    request: bytes
    count: int
    until: float
    began: float
    per_second: float
    numbers: Any = field(default_factory=itertools.count)
    seconds: list[float] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)
    refused: int = 0


def send(
    url: str,
    *,
    body: dict[str, Any],
    token: str,
    connections: int = 16,
    count: int = 10**9,
    seconds: float = 600.0,
    per_second: float = 0.0,
) -> Report:
    """Run the generator in its own process and return its report.

    With ``per_second`` requests start at an even pace, otherwise as fast as possible.
    """
    given = {
        "url": url,
        "body": body,
        "token": token,
        "connections": connections,
        "count": count,
        "seconds": seconds,
        "per_second": per_second,
    }
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench.load", json.dumps(given)],
        stdout=subprocess.PIPE,
        check=True,
        timeout=seconds + 60,
    )
    report: Report = json.loads(done.stdout)
    return report


async def _connect_and_send(host: str, port: int, run: Run) -> None:
    reader, writer = await asyncio.open_connection(host, port)
    while (number := next(run.numbers)) < run.count and time.monotonic() < run.until:
        if run.per_second:
            due = run.began + number / run.per_second
            await asyncio.sleep(max(0.0, due - time.monotonic()))
        began = time.monotonic()
        writer.write(run.request)
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0])
        body = await reader.readexactly(length)
        run.seconds.append(time.monotonic() - began)
        if head.startswith(b"HTTP/1.1 202"):
            run.ids.append(json.loads(body)["id"])
        else:
            run.refused += 1
    writer.close()


async def _note_lag(lags: list[float]) -> None:
    while True:
        began = time.monotonic()
        await asyncio.sleep(LAG_EVERY)
        lags.append(time.monotonic() - began - LAG_EVERY)


async def _run(given: dict[str, Any]) -> Report:
    address = urlsplit(given["url"])
    body = json.dumps(given["body"]).encode()
    request = (
        f"POST {address.path} HTTP/1.1\r\nhost: {address.netloc}\r\n"
        f"authorization: Bearer {given['token']}\r\n"
        f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    ).encode() + body
    began, cpu = time.monotonic(), time.process_time()
    until, pace = began + given["seconds"], given["per_second"]
    run = Run(request, given["count"], until, began, pace)
    lags: list[float] = []
    watch = asyncio.create_task(_note_lag(lags))
    await asyncio.gather(
        *(
            _connect_and_send(address.hostname or "", address.port or 80, run)
            for _ in range(given["connections"])
        )
    )
    took = time.monotonic() - began
    watch.cancel()
    return {
        "took": took,
        "seconds": run.seconds,
        "ids": run.ids,
        "refused": run.refused,
        "cpu_share": (time.process_time() - cpu) / took,
        "lags": lags,
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("given", type=json.loads)
    report = asyncio.run(_run(parser.parse_args().given))
    sys.stdout.write(json.dumps(report))
