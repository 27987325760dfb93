"""Event streams: 200 listeners of one tenant at one ASGI process, 50 events a second.

The delay is from the return of an event's COMMIT to its arrival at each listener. The
listeners are a separate process and report their own lag.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager

import psutil
from django.utils import timezone

from jobs import services
from jobs.models import Event, Job, Tenant
from jobs.services import JobDraft
from tests.bench import ours
from tests.bench.listeners import listening
from tests.bench.rows import Row, at_most, percentile
from tests.bench.stage import Process, Stage
from tests.bench.upstream import free_port
from workers.embedded import probes

LISTENERS = 200
A_SECOND = 50
SECONDS = 20.0
SETTLE_SECONDS = 2.0
P99_MS = 500.0
_MIB = 1024**2


def run(stage: Stage) -> list[Row]:
    """Listen in silence, then under load."""
    tenant = ours.make_tenant("listening")
    token = ours.make_key(tenant)
    _make_job(tenant)
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    with _door(stage, url, port) as door:
        alone = _memory(door)
        with listening(url, token, LISTENERS) as listeners:
            time.sleep(SETTLE_SECONDS)
            memory, idle = _memory(door), _cpu_share(door, SETTLE_SECONDS)
            before, began = door.cpu_seconds(), time.monotonic()
            written = _write(tenant)
            busy = (door.cpu_seconds() - before) / (time.monotonic() - began)
            time.sleep(SETTLE_SECONDS)
            report = listeners.report()
    per_listener = (memory - alone) / LISTENERS / 1024
    cost = (
        f"{idle:.0%} CPU idle, {busy:.0%} under load; "
        f"{alone / _MIB:.0f} MiB + {per_listener:.0f} KiB a listener"
    )
    return [
        *judge(written, report["got"]),
        Row(bench="events", figure="the ASGI process", ours=cost),
        Row(
            bench="events",
            figure="the listeners' own lag p99",
            ours=f"{percentile(report['lags'], 0.99) * 1000:.1f} ms",
        ),
    ]


def judge(written: dict[str, float], got: dict[str, list[float]]) -> list[Row]:
    """Hold what arrived against what was committed."""
    wrong = sum(abs(LISTENERS - len(got.get(each, ()))) for each in written)
    wrong += sum(len(times) for each, times in got.items() if each not in written)
    delays = [
        (at - written[each]) * 1000
        for each, times in got.items()
        if each in written
        for at in times
    ]
    p50, p99 = percentile(delays, 0.5), percentile(delays, 0.99)
    return [
        Row(
            bench="events",
            figure=f"commit to each of {LISTENERS} listeners, {A_SECOND}/s, p50 (p99)",
            ours=f"{p50:.0f} ms ({p99:.0f})",
            **at_most(p99, P99_MS, " ms"),
        ),
        Row(
            bench="events",
            figure="… lost or repeated",
            ours=f"{wrong} of {len(written) * LISTENERS}",
            **at_most(wrong, 0),
        ),
    ]


@contextmanager
def _door(stage: Stage, url: str, port: int) -> Iterator[Process]:
    words = ["-m", "granian", "--interface", "asgi", "--host", "127.0.0.1"]
    words += ["--port", str(port), "--log-level", "warning"]
    words += ["--runtime-mode", "mt", "--runtime-threads", "4"]
    with stage.running(
        "events",
        *words,
        "transcribe_platform.asgi:application",
        ready=lambda _process: probes.http_answers(f"{url}/health/live"),
        environment={"EVENT_STREAMS_MAX_PER_TENANT": str(LISTENERS)},
    ) as process:
        yield process


def _write(tenant: Tenant) -> dict[str, float]:
    """Commit events one by one; return when each was committed."""
    job = Job.objects.get(tenant=tenant)
    written, began = {}, time.monotonic()
    for number in range(int(SECONDS * A_SECOND)):
        time.sleep(max(0.0, began + number / A_SECOND - time.monotonic()))
        now = timezone.now()
        event = Event.objects.create(
            tenant=tenant,
            job=job,
            type="job.processing",
            data={"attempt": 1, "region": "us-east-1"},
            created_at=now,
            fanned_out_at=now,
        )
        written[f"msg_{event.pk.hex}"] = time.monotonic()
    return written


def _make_job(tenant: Tenant) -> None:
    """Submit what the events will be of, before anybody listens."""
    draft = JobDraft(audio_url="https://audio.example.com/a.wav")
    now = timezone.now()
    services.submit_job(tenant=tenant, api_key=None, draft=draft, now=now)


def _cpu_share(door: Process, seconds: float) -> float:
    before = door.cpu_seconds()
    time.sleep(seconds)
    return (door.cpu_seconds() - before) / seconds


def _memory(door: Process) -> int:
    root = psutil.Process(door.popen.pid)
    tree = (root, *root.children(recursive=True))
    return sum(int(each.memory_info().rss) for each in tree)
