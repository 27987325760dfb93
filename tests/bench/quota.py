"""The upstream's quota: every slot used, and never a 429.

Four regions, each with an emulator that enforces its limits, and workers with more
threads than slots. Two run together for 60 s after 30 s: "mixed", 100 slots and calls of
1 to 30 s, and "rate", 100 slots, 980 a minute of 1,000 and calls of 1 to 5 s; halfway
Redis loses everything (FLUSHALL). Then, without a rate limit, "short", 50 slots and
calls of 3 s, and "unlimited", 100 slots of one worker process and calls of 3 to 9 s; the
peak memory of that process is judged too. The ideal is the smaller of the rate and
slots ÷ the mean latency in the emulator's log.
"""

import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from statistics import fmean

import redis
from django.conf import settings

from tests.bench import ours, upstream
from tests.bench.ours import Platform
from tests.bench.rows import Row, at_least, at_most
from tests.bench.stage import Process, Stage
from tests.bench.upstream import Emulator

SHARE, RATE_BOUND_SHARE = 0.95, 0.96
MEMORY_MIB = 200.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """A region: its limits, ours and the emulator's, and how long its calls take."""

    name: str
    slots: int
    ours_per_minute: int
    latency: Mapping[str, float]
    theirs_per_minute: int | None = None
    jobs: int = 1500
    processes: int = 2
    share: float = SHARE


LONG = (
    Scene(
        name="mixed",
        slots=100,
        ours_per_minute=980,
        theirs_per_minute=1000,
        latency={"latency_min": 1.0, "latency_max": 30.0},
    ),
    Scene(
        name="rate",
        slots=100,
        ours_per_minute=980,
        theirs_per_minute=1000,
        latency={"latency_min": 1.0, "latency_max": 5.0},
        jobs=3000,
        share=RATE_BOUND_SHARE,
    ),
)
SHORT = (
    Scene(
        name="short",
        slots=50,
        ours_per_minute=ours.NO_RATE,
        latency={"latency_base": 3.0},
    ),
)
NO_RATE = (
    Scene(
        name="unlimited",
        slots=100,
        ours_per_minute=ours.NO_RATE,
        latency={"latency_min": 3.0, "latency_max": 9.0},
        processes=1,
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Play:
    """Scenes that run together, and for how long."""

    scenes: tuple[Scene, ...]
    warm_up: float
    plateau: float
    flush: bool


PLAYS = (
    Play(scenes=LONG, warm_up=30, plateau=60, flush=True),
    Play(scenes=SHORT, warm_up=9, plateau=24, flush=False),
    Play(scenes=NO_RATE, warm_up=12, plateau=24, flush=False),
)


def run(stage: Stage) -> list[Row]:
    """Run the scenes."""
    rows: list[Row] = []
    for play in PLAYS:
        ours.clear()
        with ExitStack() as stack:
            emulators, platform = set_up(play, stage, stack)
            time.sleep(play.warm_up)
            began = time.time()
            time.sleep(play.plateau / 2)
            if play.flush:
                with redis.Redis.from_url(settings.REDIS_URL) as client:
                    client.flushall()
            time.sleep(play.plateau / 2)
            ended = time.time()
            for scene in play.scenes:
                rows += judge(scene, emulators[scene.name], began, ended)
                if scene.processes == 1:
                    process = platform.processes[f"worker {scene.name} 1"]
                    rows.append(judge_memory(process, scene.slots))
    return rows


def set_up(
    play: Play, stage: Stage, stack: ExitStack
) -> tuple[dict[str, Emulator], Platform]:
    """Start everything and fill the backlog."""
    tenant = ours.make_tenant("bench")
    customer = stack.enter_context(upstream.customer(stage))
    emulators: dict[str, Emulator] = {}
    for scene in play.scenes:
        limits = {"concurrency": scene.slots}
        if scene.theirs_per_minute:
            limits["rate_per_minute"] = scene.theirs_per_minute
        emulator = stack.enter_context(
            upstream.emulator(stage, seed=1, **limits, **scene.latency)
        )
        ours.make_region(
            scene.name,
            emulator,
            max_concurrent=scene.slots,
            max_per_minute=scene.ours_per_minute,
        )
        emulators[scene.name] = emulator
    workers = {
        scene.name: (scene.slots // scene.processes + 10,) * scene.processes
        for scene in play.scenes
    }
    platform = stack.enter_context(ours.platform(stage, workers=workers, has_web=False))
    audio_url = customer.body["audio_url"]
    for scene in play.scenes:
        ours.insert_jobs(tenant, scene.jobs, audio_url=audio_url, lane=scene.name)
    ours.analyze()
    return emulators, platform


def judge(scene: Scene, emulator: Emulator, began: float, ended: float) -> list[Row]:
    """Compare what was completed with what the quota allows."""
    calls = [
        (_moment(call["started_at"]), _moment(call["finished_at"]))
        for call in emulator.calls()
        if call["outcome"] == "ok"
    ]
    on_plateau = [call for call in calls if began <= call[1] < ended]
    done = len(on_plateau) / (ended - began)
    latency = fmean(end - start for start, end in on_plateau)
    ideal = scene.slots / latency
    if scene.theirs_per_minute:
        ideal = min(ideal, scene.ours_per_minute / 60)
    statistics = emulator.statistics()
    refused = statistics["too_many_requests"]
    return [
        Row(
            bench="quota",
            figure=f"{scene.name}: completed a second",
            ours=f"{done:.2f} of {ideal:.2f} ({latency:.1f} s a call)",
            **at_least(done / ideal, scene.share),
        ),
        Row(
            bench="quota",
            figure=f"{scene.name}: upstream 429",
            ours=f"{refused} (peak {statistics['max_in_flight']} in flight,"
            f" {statistics['max_in_window']} a minute)",
            **at_most(refused, 0),
        ),
    ]


def judge_memory(process: Process, slots: int) -> Row:
    """Judge the most memory that a worker process has used."""
    peak = process.peak_memory() / 1024**2
    return Row(
        bench="memory",
        figure=f"peak of a worker process, {slots} slots in use",
        ours=f"{peak:.0f} MiB",
        **at_most(peak, MEMORY_MIB, " MiB"),
    )


def _moment(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()
