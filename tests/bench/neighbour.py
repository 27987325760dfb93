"""A noisy neighbor: the latency of tenant B's requests while tenant A attacks.

B sends ``GET /v1/me`` and submits jobs to the web process, and sends ``GET /v1/me`` and
opens sessions at the live process: first alone, then during each attack of
``tests.bench.attacks``. A may send as much as the platform allows by default. After the
attacks no file, socket, thread or permit of them may remain. BENCH_ATTACK limits the run
to the attacks whose name contains it.
"""

import http.client
import json
import math
import os
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from django.conf import settings
from websockets.exceptions import WebSocketException
from websockets.sync.client import connect

from jobs.models import Tenant
from tests.bench import ours, search, upstream
from tests.bench.attacks import ATTACKS, UNJUDGED
from tests.bench.rows import Row, at_most, percentile
from tests.bench.stage import Process, Stage
from tests.bench.upstream import free_port
from tests.fuzz.calls import Call, Part
from tests.fuzz.leftovers import Watched
from tests.support.factories import make_wav
from workers.embedded import probes

SECONDS, USUAL_SECONDS = 10.0, 15.0
# Until an attack is in full swing; and how long its effects may outlast it.
BEGIN_SECONDS, CALM_SECONDS = 1.0, 15.0
PACE_SECONDS = 0.015
SESSION_EVERY = 2
GIVE_UP_SECONDS = 10.0
FACTOR, ALLOWED_MS = 2.0, 50.0
SESSIONS = 20
WARMING = 16
TRANSCRIPTS = 5_000
_JOB = json.dumps({"audio_url": "https://audio.example.com/a.wav"}).encode()
Times = dict[str, list[float]]


@dataclass(slots=True, kw_only=True)
class Doors:
    """The two processes and both tenants' keys."""

    ports: dict[str, int]
    processes: dict[str, Process]
    attacker: str
    victim: str
    usual: dict[str, Times] = field(default_factory=dict)


def run(stage: Stage) -> list[Row]:
    """Measure B alone, then under each attack."""
    search.fill(transcripts=TRANSCRIPTS)
    attacker = Tenant.objects.get(name="searching")
    Tenant.objects.filter(pk=attacker.pk).update(requests_per_minute=3000)
    doors = Doors(
        ports={},
        processes={},
        attacker=ours.make_key(attacker),
        victim=ours.make_key(ours.make_tenant("neighbour")),
    )
    with upstream.emulator(stage) as emulator, _open(stage, doors):
        ours.make_region("local", emulator, max_streams=SESSIONS)
        return _measure(stage, doors)


def _measure(stage: Stage, doors: Doors) -> list[Row]:
    _warm_up(doors)
    for door in doors.ports:
        doors.usual[door] = ask(doors, door, USUAL_SECONDS)
    job_id = _upload(doors)
    watched = _watch(stage, doors)
    before = watched.look()
    rows = []
    chosen = os.environ.get("BENCH_ATTACK", "")
    for name, (door, _) in ATTACKS.items():
        if chosen not in name:
            continue
        with _attack(name, doors, job_id):
            time.sleep(BEGIN_SECONDS)
            times = ask(doors, door, SECONDS)
        rows += judge(name, door, doors.usual[door], times)
        _calm_down(doors, door)
    left = watched.wait_until_gone(before)
    summary = ", ".join(f"{n} {kind}" for kind, n in sorted(left.items())) or "nothing"
    return [
        *rows,
        Row(
            bench="neighbour",
            figure="left over within 60 s after the attacks",
            ours=summary,
            **at_most(left.total(), 0),
        ),
    ]


def _warm_up(doors: Doors) -> None:
    """Have each process start the threads and connections that it keeps."""
    with ThreadPoolExecutor(WARMING) as threads:
        for number in range(WARMING):
            threads.submit(ask, doors, ("web", "live")[number % 2], SECONDS)


def judge(name: str, door: str, usual: Times, times: Times) -> list[Row]:
    """Hold what B waits against what it usually waits."""
    rows = []
    for kind, alone in usual.items():
        before, during = (percentile(it, 0.99) * 1000 for it in (alone, times[kind]))
        limit = max(FACTOR * before, before + ALLOWED_MS)
        rows.append(
            Row(
                bench="neighbour",
                figure=f"{name}: {kind} at {door}, p99",
                ours=f"{during:.0f} ms ({before:.0f} alone)",
                **({} if name in UNJUDGED else at_most(during, round(limit), " ms")),
            )
        )
    return rows


def ask(doors: Doors, door: str, seconds: float) -> Times:
    """Ask as B for so long; return how long each answer took, by kind."""
    port, key = doors.ports[door], doors.victim
    times: Times = defaultdict(list)
    until, turn = time.monotonic() + seconds, 0
    while time.monotonic() < until:
        times["GET /v1/me"].append(_time(lambda: _call(port, key, "GET", "/v1/me")))
        if door == "web":
            submit = lambda: _call(port, key, "POST", "/v1/jobs", _JOB)  # noqa: E731
            times["POST /v1/jobs"].append(_time(submit))
        elif turn % SESSION_EVERY == 0:
            times["a session's handshake"].append(_time(lambda: _shake(port, key)))
        turn += 1
        time.sleep(PACE_SECONDS)
    return times


def _time(work: Callable[[], bool]) -> float:
    """Return the seconds that it took; endless for what was refused or given up."""
    began = time.monotonic()
    try:
        is_good = work()
    except (OSError, http.client.HTTPException, WebSocketException):
        is_good = False
    return time.monotonic() - began if is_good else math.inf


def _call(port: int, key: str, method: str, path: str, body: bytes = b"") -> bool:
    link = http.client.HTTPConnection("127.0.0.1", port, timeout=GIVE_UP_SECONDS)
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    try:
        link.request(method, path, body or None, headers)
        answer = link.getresponse()
        answer.read()
        return answer.status < http.client.BAD_REQUEST
    finally:
        link.close()


def _shake(port: int, key: str) -> bool:
    """Open a session, wait until it is ready, and leave."""
    with connect(
        f"ws://127.0.0.1:{port}/v1/live?encoding=linear16&sample_rate=16000",
        additional_headers={"Authorization": f"Bearer {key}"},
        proxy=None,
        open_timeout=GIVE_UP_SECONDS,
        close_timeout=0.2,
    ) as session:
        return json.loads(session.recv(timeout=GIVE_UP_SECONDS))["type"] == "ready"


def _calm_down(doors: Doors, door: str) -> None:
    """Wait until B is served as usual again, for a while at most."""
    usual = percentile(doors.usual[door]["GET /v1/me"], 0.99)
    until = time.monotonic() + CALM_SECONDS
    good = 0
    while good < SESSION_EVERY and time.monotonic() < until:
        took = _time(lambda: _call(doors.ports[door], doors.victim, "GET", "/v1/me"))
        good = good + 1 if took <= 2 * usual else 0
        time.sleep(PACE_SECONDS)


@contextmanager
def _attack(name: str, doors: Doors, job_id: str) -> Iterator[None]:
    ports = (str(doors.ports[door]) for door in ("web", "live"))
    process = subprocess.Popen(
        (
            *(sys.executable, "-m", "tests.bench.attacks", name),
            *(*ports, doors.attacker, job_id),
        ),
        stdout=subprocess.PIPE,
    )
    try:
        if process.stdout is None or process.stdout.readline() != b"ready\n":
            raise RuntimeError(f"the attack could not begin: {name}")
        yield
        if process.poll() is not None:
            raise RuntimeError(f"the attack broke off: {name}")
    finally:
        process.kill()
        process.wait()


def _upload(doors: Doors) -> str:
    """Submit, as A, a job with audio of its own; return its id."""
    audio = [Part(name="file", content=make_wav(), filename="a.wav")]
    call = Call(operation="", method="POST", path="/v1/jobs", form=audio)
    link = http.client.HTTPConnection("127.0.0.1", doors.ports["web"])
    kind = "multipart/form-data; boundary=fuzz"
    headers = {"Authorization": f"Bearer {doors.attacker}", "Content-Type": kind}
    link.request("POST", "/v1/jobs", call.encode_body(), headers)
    job_id = str(json.load(link.getresponse())["id"])
    link.close()
    return job_id


def _watch(stage: Stage, doors: Doors) -> Watched:
    servers = {
        port: doors.processes[door].popen.pid for door, port in doors.ports.items()
    }
    folders = (stage.folder / "tmp", Path(settings.INCOMING_ROOT))
    return Watched(servers=servers, folders=folders, redis_url=stage.redis_url)


@contextmanager
def _open(stage: Stage, doors: Doors) -> Iterator[None]:
    """Start the web and the live process as they run in production."""
    temporary = stage.folder / "tmp"
    temporary.mkdir(exist_ok=True)
    with ExitStack() as stack:
        for door, interface in (("web", "wsgi"), ("live", "asgi")):
            port = free_port()
            words = ours.granian(f"transcribe_platform.{interface}:application", port)
            if interface == "asgi":
                words = tuple(_as_asgi(words))
            url = f"http://127.0.0.1:{port}/health/live"
            doors.ports[door] = port
            doors.processes[door] = stack.enter_context(
                stage.running(
                    door,
                    *words,
                    ready=lambda _process, url=url: probes.http_answers(url),  # type: ignore[misc]
                    environment={"TMPDIR": str(temporary)},
                )
            )
        yield


def _as_asgi(words: tuple[str, ...]) -> Iterator[str]:
    """Yield the web server's command for sockets: no threads of its own to block."""
    left = iter(words)
    for word in left:
        if word == "--blocking-threads":
            next(left)
            continue
        yield "asgi" if word == "wsgi" else word
    yield from ("--runtime-mode", "mt", "--runtime-threads", "4")
