"""Send each operation the worst input of every class, one request at a time.

The servers do nothing else, so what a request costs can be measured: the CPU time of
the server's whole process tree, and the time until the answer. FUZZ_WORST is how many
operations get each class (default: all of them); FUZZ_SEED decides which.
"""

import random
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace

import psutil
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from tests.fuzz import exchange, worst_cases
from tests.fuzz.calls import Call, Part, Pool, Template, make_call
from tests.fuzz.leftovers import Watched
from tests.fuzz.stand import Stand
from tests.support.factories import make_wav

# Of one request: what other requests of the process have to wait for.
CPU_SECONDS = 0.5
# A manifest or an upload is examined by a process of its own, or in slices.
CPU_SECONDS_OF_FILES = 4.0
ANSWER_SECONDS = 10.0
# How long a session's client listens; then it leaves.
LISTENED_SECONDS = 0.2
CLOSE_SECONDS = 1.0
# A server is at rest when it uses less than this share of a core; waited for so long.
REST_SHARE, REST_LOOK_SECONDS, REST_SECONDS = 0.3, 0.1, 20.0
_READ_MOST = ("submit_job:", "get_job_audio:", "search_transcripts:", "check_batch:")
SESSIONS = {"/v1/live": "Bearer", "/v1/listen": "Token"}

# Where it goes, what it is, and what sends it and returns the status and the seconds.
Case = tuple[str, str, Callable[[], tuple[int, float]]]


@dataclass(slots=True)
class Report:
    """What came of it."""

    sent: int = 0
    findings: list[str] = field(default_factory=list)
    slowest: tuple[float, str] = (0.0, "")
    answers: Counter[str] = field(default_factory=Counter)

    def note(self, name: str, status: int, spent: float) -> None:
        """Note how a request was answered, and what it cost."""
        self.sent += 1
        self.answers[f"{status // 100}xx" if status else "closed"] += 1
        self.slowest = max(self.slowest, (spent, name))

    def describe(self) -> str:
        """Return it as a line."""
        spent, name = self.slowest
        ends = ", ".join(f"{n} {kind}" for kind, n in sorted(self.answers.items()))
        return (
            f"{self.sent} worst cases ({ends});"
            f" the dearest took {spent:.2f} s of CPU: {name}"
        )


def run(
    stand: Stand, templates: Sequence[Template], pool: Pool, *, seed: int, count: int
) -> Report:
    """Send each class to ``count`` operations (0: to all); see what is left of them."""
    report, chance = Report(), random.Random(seed)
    cases = list(_requests(stand, templates, pool, chance))
    frames = list(_frames(stand, pool))
    if count:
        cases, frames = _draw(cases, count, chance), _draw(frames, 1, chance)
    cases += frames
    watched = watch(stand)
    before = watched.look()
    for interface, name, send in cases:
        try:
            _judge(stand, interface, name, send, report)
        except exchange.Finding as finding:
            report.findings.append(f"worst case {interface} {name}: {finding}")
    if left := watched.wait_until_gone(before):
        report.findings.append(f"left over after the worst cases: {dict(left)}")
    return report


def _draw(cases: Sequence[Case], count: int, chance: random.Random) -> list[Case]:
    """Return so many cases of each class."""
    classes: dict[str, list[Case]] = defaultdict(list)
    for case in cases:
        name = case[1].partition(": ")[2]
        classes[name.rpartition(", ")[0] or name].append(case)
    drawn = []
    for those in classes.values():
        # Where most is read of a request; then any others.
        first = [case for case in those if case[1].startswith(_READ_MOST)][:1]
        drawn += first + chance.sample(those, min(count, len(those)))
    return drawn


def watch(stand: Stand) -> Watched:
    """Return what is looked at for what an attack leaves."""
    servers = {stand.ports[name]: pid for name, pid in stand.pids.items()}
    return Watched(
        servers=servers,
        folders=(stand.folder / "tmp", stand.folder / "media" / "incoming"),
        redis_url=stand.redis_url,
    )


def _judge(
    stand: Stand,
    interface: str,
    name: str,
    send: Callable[[], tuple[int, float]],
    report: Report,
) -> None:
    is_file = any(word in name for word in ("media ", "manifest ", "form "))
    limit = CPU_SECONDS_OF_FILES if is_file else CPU_SECONDS
    for _ in range(2):  # a second time, as a shared core makes some runs slow
        before = cpu_seconds(stand.pids[interface])
        status, took = send()
        if "frames " in name:
            _wait_for_rest(stand.pids[interface])
        spent = cpu_seconds(stand.pids[interface]) - before
        if spent <= limit:
            break
    report.note(f"{interface} {name}", status, spent)
    if spent > limit:
        raise exchange.Finding(f"{spent:.1f} s of CPU")
    if took > ANSWER_SECONDS:
        raise exchange.Finding(f"answered after {took:.1f} s")


def _wait_for_rest(pid: int) -> None:
    """Wait until a server does nothing more for a client that has left."""
    deadline, last = time.monotonic() + REST_SECONDS, cpu_seconds(pid)
    while time.monotonic() < deadline:
        time.sleep(REST_LOOK_SECONDS)
        now = cpu_seconds(pid)
        if now - last < REST_SHARE * REST_LOOK_SECONDS:
            return
        last = now


def cpu_seconds(pid: int) -> float:
    """Return the CPU time of a process and of all that it started."""
    root, total = psutil.Process(pid), 0.0
    for process in (root, *root.children(recursive=True)):
        try:
            times = process.cpu_times()
        except psutil.NoSuchProcess:
            continue  # counted by its parent
        total += times.user + times.system + times.children_user + times.children_system
    return total


def _requests(
    stand: Stand, templates: Sequence[Template], pool: Pool, chance: random.Random
) -> Iterator[Case]:
    key = ("Authorization", b"Bearer " + pool.keys[0].encode())
    uploaded = replace(pool, ids={**pool.ids, "jobs": [_upload(stand, key)]})
    for template in templates:
        known = uploaded if template.method == "GET" else pool
        call = make_call(template, known, random.Random(0))
        call.headers, call.query = [key], []
        for name, changed in worst_cases.vary(template, call):
            interface = chance.choice(["wsgi", "asgi"])
            named = f"{call.operation}: {name}"
            yield interface, named, _send(stand.ports[interface], changed)


def _upload(stand: Stand, key: tuple[str, bytes]) -> str:
    """Submit a job whose audio can be read, and return its id."""
    audio = Part(name="file", content=make_wav(), filename="a.wav")
    call = Call(
        operation="", method="POST", path="/v1/jobs", headers=[key], form=[audio]
    )
    port = stand.ports["wsgi"]
    answer = exchange.exchange(port, call.encode(), method="POST", is_whole=True)
    return str(answer.json()["id"])


def _send(port: int, call: Call) -> Callable[[], tuple[int, float]]:
    def send() -> tuple[int, float]:
        sent, began = call.encode(), time.monotonic()
        answer = exchange.exchange(port, sent, method=call.method, is_whole=True)
        took = time.monotonic() - began
        exchange.check_answer(
            answer, method=call.method, is_whole=True, size_bytes=len(sent)
        )
        return answer.status, took

    return send


def _frames(stand: Stand, pool: Pool) -> Iterator[Case]:
    for path, scheme in SESSIONS.items():
        authorization = f"{scheme} {pool.keys[0]}"
        for name in worst_cases.FRAMES:
            url = f"ws://127.0.0.1:{stand.ports['asgi']}{path}"
            yield "asgi", f"{path}: frames {name}", _talk(url, authorization, name)


def _talk(url: str, authorization: str, name: str) -> Callable[[], tuple[int, float]]:
    """Send the frames to a session, listen for a while, and leave."""

    def talk() -> tuple[int, float]:
        frames = worst_cases.made("frames", name)
        try:
            with connect(
                url,
                additional_headers={"Authorization": authorization},
                proxy=None,
                compression=None,
                close_timeout=CLOSE_SECONDS,
            ) as socket:
                _send_and_listen(socket, frames)
        except InvalidStatus as refused:
            status = refused.response.status_code
            raise exchange.Finding(f"no session is free any more: {status}") from None
        return 101, 0.0  # a session has no answer to wait for

    return talk


def _send_and_listen(socket: ClientConnection, frames: list[bytes | str]) -> None:
    deadline = time.monotonic() + LISTENED_SECONDS
    with suppress(ConnectionClosed, TimeoutError):
        for frame in frames:
            socket.send(frame)
        while (left := deadline - time.monotonic()) > 0:
            socket.recv(timeout=left)
