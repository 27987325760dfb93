"""Manifests of 10,000 and 100,000 lines, while others submit one job at a time.

One web process and the dispatcher, which releases the jobs. No worker runs, so only the
acceptance is measured. Single submits use one connection; their p99 is compared with the
same minutes before.
"""

import json
import time
import urllib.request
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import quote

import psutil

from jobs.models import Batch, Job
from tests.bench import ours, yardstick
from tests.bench.load import send
from tests.bench.rows import Row, at_most, percentile
from tests.bench.stage import Process, Stage, wait_for

SIZES = {10_000: 3.0, 100_000: 30.0}
CONNECTIONS = 2
USUAL_SECONDS = 8.0
GROWTH_MIB = 48.0
_opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def run(stage: Stage) -> list[Row]:
    """Measure single submits alone, then beside each manifest."""
    tenant, other = ours.make_tenant("bulk"), ours.make_tenant("single")
    key, others_key = ours.make_key(tenant), ours.make_key(other)
    rows = []
    with ours.platform(stage, workers={}, webhook_threads=0) as platform:
        web = platform.processes["web"]
        submit = _single(platform.url, others_key)
        submit(2.0)  # the first requests import and connect
        _upload(platform.url, key, _manifest(2_000))
        usual = percentile(submit(USUAL_SECONDS), 0.99)
        for lines, limit in SIZES.items():
            before, factor = _memory(web), yardstick.measure()
            took, times, peak = _beside(
                submit, lambda n=lines: _upload(platform.url, key, _manifest(n)), web
            )
            factor = (factor + yardstick.measure()) / 2
            rows.append(yardstick.build_row("bulk", factor))
            ratio = percentile(times, 0.99) / usual
            rows += _judge(lines, limit * factor, took, ratio, usual)
            grown = (peak - before) / 1024**2
            rows.append(
                Row(
                    bench="bulk",
                    figure=f"{lines:,} lines: memory of the web process grows by",
                    ours=f"{grown:.0f} MiB",
                    **at_most(grown, GROWTH_MIB, " MiB"),
                )
            )
            rows.append(_released(lines))
    return rows


def _judge(
    lines: int, limit: float, took: float, ratio: float, usual: float
) -> list[Row]:
    return [
        Row(
            bench="bulk",
            figure=f"{lines:,} lines accepted",
            ours=f"{took:.1f} s",
            **at_most(took, limit, " s"),
        ),
        Row(
            bench="bulk",
            figure="… single submits meanwhile, p99 against the usual",
            ours=f"{usual * 1000:.0f} → {usual * ratio * 1000:.0f} ms",
            **at_most(ratio, 3.0),
        ),
    ]


def _single(url: str, key: str) -> Callable[[float], list[float]]:
    def submit(seconds: float) -> list[float]:
        report = send(
            f"{url}/v1/jobs",
            body={"audio_url": "https://audio.example.com/one.wav"},
            token=key,
            connections=CONNECTIONS,
            seconds=seconds,
        )
        if report["refused"]:
            raise RuntimeError(f"{report['refused']} single submits were refused")
        times: list[float] = report["seconds"]
        return times

    return submit


def _beside(
    submit: Callable[[float], list[float]], upload: Callable[[], float], web: Process
) -> tuple[float, list[float], int]:
    """Upload while rounds of single submits run; return both, and the peak of memory."""
    times: list[float] = []
    peak = 0
    with ThreadPoolExecutor() as threads:
        uploading = threads.submit(upload)
        while not uploading.done():
            times += submit(1.0)
            peak = max(peak, _memory(web))
        return uploading.result(), times, peak


def _manifest(lines: int) -> bytes:
    return b"".join(
        json.dumps(
            {
                "audio_url": f"https://audio.example.com/calls/{number}.wav",
                "custom_id": f"call-{number}",
                "metadata": {"order": str(number)},
            }
        ).encode()
        + b"\n"
        for number in range(lines)
    )


def _upload(url: str, key: str, body: bytes) -> float:
    defaults = quote('{"options": {"diarize": true}, "priority": "low"}')
    request = urllib.request.Request(
        f"{url}/v1/batches?defaults={defaults}",
        data=body,
        headers={
            "Authorization": f"Bearer {key}",
            "Content-Type": "application/x-ndjson",
        },
    )
    began = time.monotonic()
    with _opener.open(request, timeout=300) as answer:
        batch: dict[str, Any] = json.load(answer)
    took = time.monotonic() - began
    if batch["counts"]["total"] != body.count(b"\n"):
        raise RuntimeError("not all lines became jobs")
    return took


def _released(lines: int) -> Row:
    """Wait until all jobs may run."""
    began = time.monotonic()
    batch = Batch.objects.get(total=lines)
    withheld = Job.objects.filter(batch=batch, ready=False)
    wait_for(lambda: not withheld.exists(), "the jobs were not released", seconds=300)
    return Row(
        bench="bulk",
        figure=f"{lines:,} jobs released, after that",
        ours=f"{time.monotonic() - began:.1f} s",
    )


def _memory(process: Process) -> int:
    root = psutil.Process(process.popen.pid)
    return sum(it.memory_info().rss for it in (root, *root.children(recursive=True)))
