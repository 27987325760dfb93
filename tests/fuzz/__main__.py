"""`make fuzz`: a hundred thousand bad requests and bad answers, by seed; schemathesis.

FUZZ_MUTATIONS (100000), FUZZ_SEED (random), FUZZ_ONLY (the number of one mutation),
FUZZ_WORST (worst cases to send, default all) and CONFORMANCE_SECONDS (300) come from
the environment. Nothing may be a 5xx, hang, leave a traceback in a log, be written by
halves or contradict the OpenAPI document. Ends with 1 if something does, and says how
to see it again.
"""

import logging
import os
import random
import sys
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import django

from tests.fuzz import stand

if TYPE_CHECKING:
    from jobs.models import Tenant
    from tests.fuzz.calls import Pool, Template

THREADS = 16
GARBAGE_SHARE = 0.05
RECEIVER_SHARE = 0.05
ASGI_SHARE = 0.3
SHOWN = 20


@dataclass(slots=True, kw_only=True)
class Run:
    """One run: what it asks, and what came of it."""

    seed: int
    ports: dict[str, int]
    templates: "list[Template]"
    pool: "Pool"
    outcomes: Counter[str] = field(default_factory=Counter)
    operations: Counter[str] = field(default_factory=Counter)
    answered: set[str] = field(default_factory=set)
    findings: list[str] = field(default_factory=list)
    slowest: float = 0.0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def play(self, number: int) -> None:
        """Send one mutation and judge its answer."""
        from tests.fuzz import exchange  # noqa: PLC0415  Django is set up by now

        chance = random.Random(f"{self.seed}:{number}")
        door = "asgi" if chance.random() < ASGI_SHARE else "wsgi"
        operation, method, sent, is_whole = self._make(chance)
        began = time.monotonic()
        try:
            answer = exchange.exchange(
                self.ports[door], sent, method=method, is_whole=is_whole
            )
            exchange.check_answer(
                answer, method=method, is_whole=is_whole, size_bytes=len(sent)
            )
            outcome = f"{answer.status // 100}xx" if answer.status else "closed"
            self._note_answered(answer)
        except exchange.Finding as finding:
            outcome = "FINDING"
            told = f"{number} {door} {operation}: {finding}\n      {sent[:600]!r}"
            self.findings.append(told)
        with self.lock:
            self.outcomes[outcome] += 1
            self.operations[operation] += 1
            self.slowest = max(self.slowest, time.monotonic() - began)
            if (done := sum(self.outcomes.values())) % 10_000 == 0:
                _say(f"{done} requests, {len(self.findings)} findings so far")

    def _make(self, chance: random.Random) -> tuple[str, str, bytes, bool]:
        from tests.fuzz import calls, garbage, mutations  # noqa: PLC0415

        if chance.random() < GARBAGE_SHARE:
            sent = garbage.make_garbage(chance)
            return "garbage", sent.partition(b" ")[0].decode("latin-1"), sent, False
        call = calls.make_call(chance.choice(self.templates), self.pool, chance)
        mutations.mutate(call, chance)
        # What the server waits for in vain until it sees the end.
        names = {name for name, _ in call.headers}
        is_whole = "Transfer-Encoding" not in names and (
            call.length is None or call.length <= len(call.encode_body())
        )
        return call.operation, call.method, call.encode(), is_whole

    def _note_answered(self, answer: object) -> None:
        body = answer.json() if 200 <= answer.status < 300 else None  # type: ignore[attr-defined]
        if isinstance(body, dict) and body.get("object") in {"job", "batch"}:
            with self.lock:
                self.answered.add(body["id"])


def main() -> int:
    """Run it all; print a short summary."""
    seed = int(os.environ.get("FUZZ_SEED") or random.randrange(10**9))
    count = int(os.environ.get("FUZZ_MUTATIONS") or 100_000)
    only = os.environ.get("FUZZ_ONLY")
    _say(f"seed {seed}: FUZZ_SEED={seed} make fuzz plays the same")
    with stand.prepared() as standing:
        django.setup()
        logging.getLogger().setLevel(logging.WARNING)  # ours; the doors' go to files
        numbers = [int(only)] if only else list(range(count))
        findings = _fuzz(standing, seed, numbers)
    for finding in findings[:SHOWN]:
        _say(f"  BROKEN {finding}")
    _say(f"{len(findings)} findings")
    return 1 if findings else 0


def _fuzz(standing: stand.Stand, seed: int, numbers: list[int]) -> list[str]:
    from tests.fuzz import rows  # noqa: PLC0415  Django is set up by now
    from tests.fuzz.calls import read_templates  # noqa: PLC0415
    from transcribe_platform.openapi.document import get_document  # noqa: PLC0415

    templates = read_templates(get_document())
    tenant, keys, jobs = rows.make_rows()
    receivers = int(len(numbers) * RECEIVER_SHARE)
    with stand.serving(standing, "wsgi", "asgi"):
        pool = rows.make_pool(standing.ports["wsgi"], templates, keys)
        run = Run(seed=seed, ports=standing.ports, templates=templates, pool=pool)
        run.answered.update(jobs, pool.ids["jobs"], pool.ids.get("batches", []))
        began = time.monotonic()
        with ThreadPoolExecutor(THREADS) as threads:
            list(threads.map(run.play, numbers[receivers:] or numbers))
        seconds = time.monotonic() - began
        findings = [*run.findings, *rows.find_half_written(run.answered)]
        findings += _worst_cases(standing, templates, pool, seed)
        findings += _contradictions(standing, tenant, seed)
    findings += _receivers(receivers, seed)
    findings += standing.bad_lines()
    _tell(run, seconds, receivers)
    return findings


def _worst_cases(
    standing: stand.Stand, templates: "list[Template]", pool: "Pool", seed: int
) -> list[str]:
    """Send the worst input of every class, unless one mutation was asked for."""
    from jobs.models import Region  # noqa: PLC0415  Django is set up by now
    from tests.fuzz import worst  # noqa: PLC0415

    if os.environ.get("FUZZ_ONLY"):
        return []
    count = int(os.environ.get("FUZZ_WORST") or 0)
    with stand.emulating(standing) as upstream:
        region = Region.objects.get()
        Region.objects.update(base_url=upstream)
        report = worst.run(standing, templates, pool, seed=seed, count=count)
        Region.objects.update(base_url=region.base_url)
    _say(report.describe())
    return report.findings


def _contradictions(standing: stand.Stand, tenant: "Tenant", seed: int) -> list[str]:
    """Compare the server with its OpenAPI document, unless one mutation was asked for."""
    from tests.fuzz import conformance  # noqa: PLC0415  Django is set up by now
    from tests.support.factories import make_key  # noqa: PLC0415

    if os.environ.get("FUZZ_ONLY"):
        return []
    seconds = os.environ.get("CONFORMANCE_SECONDS") or "300"
    _, key = make_key(tenant)  # the others may be revoked by now
    return conformance.find(standing, key, seconds=seconds, seed=seed)


def _receivers(rounds: int, seed: int) -> list[str]:
    """Let receivers answer anything."""
    from tests.fuzz import receiver_answers  # noqa: PLC0415  Django is set up by now

    try:
        receiver_answers.run(rounds, seed)
    except AssertionError as broken:
        return [f"receivers: {broken}"]
    return []


def _tell(run: Run, seconds: float, receivers: int) -> None:
    total = sum(run.outcomes.values())
    ends = ", ".join(f"{count} {name}" for name, count in sorted(run.outcomes.items()))
    _say(
        f"{total} requests over {len(run.operations)} operations in {seconds:.0f} s"
        f" (slowest {run.slowest:.1f} s): {ends}; {receivers} answers of receivers"
    )


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
