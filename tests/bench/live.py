"""Live sessions at one ASGI process, in real time, with frames of 100 ms.

1. Twenty clients send the same audio to the platform and to the upstream at the same
   time. Measured: how much later each result of the platform arrives. They hang up one
   after another, then all within 100 ms.
2. Two hundred sessions, which must lose no result.
3. Fifty sessions whose upstream is killed twice: each socket must stay open, and each
   word sent as final must be in the stored transcript.

Clients, platform and upstream share the machine.
"""

import asyncio
import time
from collections.abc import Coroutine, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import Any

import psutil

from jobs.models import Region
from tests.bench import ours, upstream
from tests.bench.rows import Row, at_most, percentile
from tests.bench.stage import Process, Stage
from tests.bench.upstream import free_port
from tests.support.live_streams import (
    FRAME_SECONDS,
    Heard,
    added_latencies,
    make_speech,
    read_stored,
    stream_here,
    stream_paired,
)
from workers.embedded import probes

PAIRED, PAIRED_SECONDS, APART_SECONDS = 20, 24.0, 0.5
MANY, MANY_SECONDS = 200, 20.0
BROKEN, BROKEN_SECONDS = 50, 24.0
OPEN_SECONDS = 0.04  # between two that open
# The upstream lives so long, is killed, and comes again after the pause; twice.
ALIVE_SECONDS, DEAD_SECONDS = 6.0, 2.0
P99_MS = 10.0
_MIB = 1024**2


def run(stage: Stage) -> list[Row]:
    """Pair twenty, then open two hundred."""
    tenant = ours.make_tenant("speaking")
    tenant.max_in_flight = MANY  # more than half of the region's places
    tenant.save()
    token = ours.make_key(tenant)
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    with upstream.emulator(stage) as emulator, _door(stage, url, port) as door:
        ours.make_region("us-east-1", emulator, max_streams=MANY)
        pairs = asyncio.run(_pair(url, token, emulator.url, apart=APART_SECONDS))
        at_once = asyncio.run(_pair(url, token, emulator.url, apart=0.0))
        alone = _memory(door)
        before, began = door.cpu_seconds(), time.monotonic()
        heard, peak = asyncio.run(_open_many(url, token, door))
        share = (door.cpu_seconds() - before) / (time.monotonic() - began)
        broken = _open_with_deaths(stage, url, token)
    cost = (
        f"{share:.0%} CPU, {alone / _MIB:.0f} MiB"
        f" + {(peak - alone) / MANY / 1024:.0f} KiB a session"
    )
    return [
        *judge_pairs(pairs),
        *judge_pairs(at_once, how=", hang up at once"),
        Row(
            bench="live",
            figure=f"{MANY} sessions in real time: not whole",
            ours=str(len(heard) - count_whole(heard)),
            **at_most(len(heard) - count_whole(heard), 0),
        ),
        Row(bench="live", figure="… the ASGI process", ours=cost),
        *judge_broken(broken),
    ]


def judge_pairs(pairs: Sequence[tuple[Heard, Heard]], *, how: str = "") -> list[Row]:
    """Compare the results of the platform with those of the upstream itself."""
    added = added_latencies(pairs)
    direct = sum(len(there.results) for _, there in pairs)
    p50, p99 = (percentile(added, share) * 1000 for share in (0.5, 0.99))
    return [
        Row(
            bench="live",
            figure=f"added to a message, {len(pairs)} sessions{how}, p50 (p99)",
            ours=f"{p50:.1f} ms ({p99:.1f})",
            **at_most(p99, P99_MS, " ms"),
        ),
        Row(
            bench="live",
            figure="… of the upstream's results, not sent",
            ours=f"{direct - len(added)} of {direct}",
            **at_most(direct - len(added), 0),
        ),
    ]


def judge_broken(heard: Sequence[Heard]) -> list[Row]:
    """Compare the words received with those spoken and those stored."""
    closed = sum(each.reason != "client_closed" for each in heard)
    missing = sum(
        len(set(each.words) - set(read_stored(each.job_id))) for each in heard
    )
    received = sum(len(each.words) for each in heard)
    breaks = sum(each.warnings.count("upstream_reconnected") for each in heard)
    return [
        Row(
            bench="live",
            figure=f"{len(heard)} sessions, upstream killed twice: sockets lost",
            ours=f"{closed} ({breaks} times it was there again)",
            **at_most(closed, 0),
        ),
        Row(
            bench="live",
            figure="… words sent as final, not stored",
            ours=f"{missing} of {received}",
            **at_most(missing, 0),
        ),
        Row(
            bench="live",
            figure="… sessions that did not receive each word once",
            ours=str(len(heard) - count_whole(heard)),
            **at_most(len(heard) - count_whole(heard), 0),
        ),
    ]


def count_whole(heard: Sequence[Heard]) -> int:
    """Count the sessions that received each word once and ended normally."""
    return sum(each.is_whole and each.reason == "client_closed" for each in heard)


async def _pair(
    url: str, token: str, there: str, *, apart: float
) -> list[tuple[Heard, Heard]]:
    speeches = [
        make_speech(PAIRED_SECONDS + number * apart, seed=number)
        for number in range(PAIRED)
    ]
    return await _spread(
        stream_paired(url, token, there, audio, delay=number * FRAME_SECONDS / PAIRED)
        for number, audio in enumerate(speeches)
    )


async def _open_many(url: str, token: str, door: Process) -> tuple[list[Heard], int]:
    speeches = [make_speech(MANY_SECONDS, seed=number) for number in range(20)]
    streaming = asyncio.create_task(
        _spread(
            stream_here(url, token, speeches[number % 20], delay=number * OPEN_SECONDS)
            for number in range(MANY)
        )
    )
    peak = 0
    while not streaming.done():
        peak = max(peak, _memory(door))
        await asyncio.wait([streaming], timeout=1.0)
    return streaming.result(), peak


def _open_with_deaths(stage: Stage, url: str, token: str) -> list[Heard]:
    """Stream from a thread: what is started here dies with the thread that did it."""
    speeches = [make_speech(BROKEN_SECONDS, seed=number) for number in range(BROKEN)]
    streams = _spread(
        stream_here(url, token, audio, delay=number * OPEN_SECONDS)
        for number, audio in enumerate(speeches)
    )
    port = free_port()
    with ThreadPoolExecutor(1) as thread, ExitStack() as lives:
        emulator = lives.enter_context(upstream.emulator(stage, port=port))
        Region.objects.update(base_url=emulator.url)
        streaming = thread.submit(asyncio.run, streams)
        for _ in range(2):
            time.sleep(ALIVE_SECONDS)
            emulator.process.kill()
            time.sleep(DEAD_SECONDS)
            emulator = lives.enter_context(upstream.emulator(stage, port=port))
        return streaming.result()


async def _spread(streams: Iterator[Coroutine[Any, Any, Any]] | Any) -> list[Any]:
    return list(await asyncio.gather(*streams))


@contextmanager
def _door(stage: Stage, url: str, port: int) -> Iterator[Process]:
    words = ["-m", "granian", "--interface", "asgi", "--host", "127.0.0.1"]
    words += ["--port", str(port), "--log-level", "warning"]
    words += ["--runtime-mode", "mt", "--runtime-threads", "4"]
    with stage.running(
        "live",
        *words,
        "transcribe_platform.asgi:application",
        ready=lambda _process: probes.http_answers(f"{url}/health/live"),
    ) as process:
        yield process


def _memory(door: Process) -> int:
    root = psutil.Process(door.popen.pid)
    tree = (root, *root.children(recursive=True))
    return sum(int(each.memory_info().rss) for each in tree)
