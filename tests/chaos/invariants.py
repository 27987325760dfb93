"""What must hold after every disaster, each in one function that says what is wrong.

Read from the rows by SQL, from the emulator's log and from the customer's inbox: none of
the platform's own code judges the platform.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from psycopg.rows import namedtuple_row

from tests.chaos.platform import Mark, Platform

FINAL = {"completed", "failed", "canceled", "expired"}
# The ledger's own word for "no connection": nothing was asked, nothing was logged.
NEVER_ASKED = "upstream_unreachable"
# A commit that the database's end left in doubt may leave a call that nobody made; a web
# process makes synchronous calls.
KILLS = ("kill worker", "kill web-", "kill postgres", "restart postgres")
CLOCK_SLACK = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """All that is known at one moment, after the dust has settled."""

    accepted: dict[str, str]
    jobs: dict[str, Any]
    transcripts: dict[str, str]
    attempts: dict[str, list[Any]]
    events: dict[str, list[Any]]
    calls: dict[tuple[str, str], list[dict[str, Any]]]
    gaps: list[tuple[float, float]]
    marks: list[Mark]
    received: dict[str, Counter[str]]
    received_types: dict[str, set[str]]
    invalid: list[str]
    permits_held: int
    refused: int
    media: Path
    orphans: list[str]


def gather(platform: Platform) -> Evidence:
    """Read everything."""
    platform.upstream.read()
    calls = defaultdict(list)
    for call in platform.upstream.calls.values():
        calls[_tag(call, "job:"), _tag(call, "claim:")].append(call)
    url = platform.plan.environment["DATABASE_URL"]
    with psycopg.connect(url, row_factory=namedtuple_row) as database:
        return Evidence(
            accepted=dict(platform.accepted),
            jobs={str(row.id): row for row in database.execute(_JOBS)},
            transcripts={
                str(row.job_id): row.raw for row in database.execute(_TRANSCRIPTS)
            },
            attempts=_by_job(database.execute(_ATTEMPTS)),
            events=_by_job(database.execute(_EVENTS)),
            calls=calls,
            gaps=platform.upstream.gaps,
            marks=platform.marks,
            received=dict(platform.inbox.events),
            received_types=dict(platform.inbox.types),
            invalid=list(platform.inbox.invalid),
            permits_held=platform.permits_held(),
            refused=platform.upstream.refused,
            media=Path(platform.plan.environment["MEDIA_ROOT"]),
            orphans=find_orphans(platform),
        )


_JOBS = "SELECT id, status, error_code, error_detail, attempt, crashes FROM jobs_job"
_TRANSCRIPTS = "SELECT job_id, raw FROM transcripts_transcript"
_ATTEMPTS = """
SELECT job_id, lease_token, outcome, error_code, request_id, status_code, worker,
       extract(epoch FROM started_at)::float AS started_at,
       extract(epoch FROM finished_at)::float AS finished_at
FROM jobs_attempt ORDER BY started_at
"""
_EVENTS = "SELECT job_id, id, type FROM jobs_event WHERE job_id IS NOT NULL ORDER BY id"


def _by_job(rows: Any) -> dict[str, list[Any]]:
    found = defaultdict(list)
    for row in rows:
        found[str(row.job_id)].append(row)
    return found


def find_broken(evidence: Evidence) -> list[str]:
    """Return a sentence for everything that does not hold."""
    return [wrong for check in CHECKS for wrong in check(evidence)]


def every_request_made_one_job(evidence: Evidence) -> Iterator[str]:
    if unknown := set(evidence.jobs) - set(evidence.accepted.values()):
        yield f"{len(unknown)} jobs that no accepted request made: {_some(unknown)}"
    if lost := set(evidence.accepted.values()) - set(evidence.jobs):
        yield f"{len(lost)} accepted jobs are gone: {_some(lost)}"
    if len(set(evidence.accepted.values())) != len(evidence.accepted):
        yield "two idempotency keys were answered with one job"


def every_job_is_final(evidence: Evidence) -> Iterator[str]:
    counts = Counter(job.status for job in evidence.jobs.values())
    if set(counts) - FINAL:
        yield f"not every job is final: {dict(counts)}"
    for job in evidence.jobs.values():
        if job.status in FINAL - {"completed"}:
            yield f"job {job.id} is {job.status}: {job.error_code} {job.error_detail}"


def one_transcript_per_completed_job(evidence: Evidence) -> Iterator[str]:
    done = {key for key, job in evidence.jobs.items() if job.status == "completed"}
    if missing := done - set(evidence.transcripts):
        yield f"{len(missing)} completed jobs have no transcript: {_some(missing)}"
    if extra := set(evidence.transcripts) - done:
        yield f"{len(extra)} transcripts of other jobs: {_some(extra)}"
    for job, raw in evidence.transcripts.items():
        if not (evidence.media / raw).exists():
            yield f"the document of job {job} is not in storage: {raw}"


def no_attempt_is_open(evidence: Evidence) -> Iterator[str]:
    for job, attempts in evidence.attempts.items():
        for attempt in attempts:
            if attempt.outcome == "open":
                yield f"attempt {job}.{attempt.lease_token} is still open"


def ledger_equals_upstream_log(evidence: Evidence) -> Iterator[str]:
    """Row by row, by the tags of job and claim: each attempt has its one call."""
    calls = dict(evidence.calls)
    for job, attempts in evidence.attempts.items():
        for attempt in attempts:
            found = calls.pop((job, str(attempt.lease_token)), [])
            wrong = _compare(attempt, found, evidence)
            if wrong:
                yield f"{_name(job, attempt)} {wrong}: {found}"
    for (job, token), found in calls.items():
        yield f"calls for {job}.{token} that the ledger does not know: {found}"


def _compare(attempt: Any, calls: list[dict[str, Any]], evidence: Evidence) -> str:
    """Say what is wrong between an attempt and the calls of its claim, if anything."""
    if attempt.error_code == NEVER_ASKED:
        return "never asked, but upstream was" if calls else ""
    if len(calls) > 1:
        return "was called more than once"
    if not calls:
        may_lack = attempt.outcome == "unknown" or _may_be_lost(attempt, evidence)
        return "" if may_lack else "is not in the upstream's log"
    (call,) = calls
    if attempt.request_id not in {"", call["request_id"]}:
        return "has another request id upstream"
    if attempt.outcome == "ok" and call["outcome"] not in {"ok", "lost"}:
        return "is ok here and not upstream"
    return ""


def no_call_was_repeated_without_need(evidence: Evidence) -> Iterator[str]:
    """Whatever followed an ok attempt was paid for nothing."""
    for job, attempts in evidence.attempts.items():
        outcomes = [attempt.outcome for attempt in attempts]
        if "ok" in outcomes[:-1]:
            yield f"job {job} was called again after it was done: {outcomes}"


def unknown_only_where_a_process_died(evidence: Evidence) -> Iterator[str]:
    """A call is *unknown* only if it was under way when something was killed."""
    moments = [mark.at for mark in evidence.marks if mark.what.startswith(KILLS)]
    for job, attempts in evidence.attempts.items():
        for attempt in attempts:
            began, ended = attempt.started_at, attempt.finished_at
            if attempt.outcome == "unknown" and not any(
                began - CLOCK_SLACK <= moment <= ended for moment in moments
            ):
                yield f"{_name(job, attempt)} is unknown, and nothing was killed then"


def every_end_was_told(evidence: Evidence) -> Iterator[str]:
    """Each final event once in the outbox, at least once in the inbox, same id."""
    for job in evidence.jobs.values():
        key, kind = str(job.id), f"job.{job.status}"
        finals = [e for e in evidence.events.get(key, []) if e.type[4:] in FINAL]
        if [event.type for event in finals] != [kind]:
            yield f"job {key} is {job.status} and has {[e.type for e in finals]}"
        received = evidence.received.get(key, Counter())
        if len(received) != 1 or evidence.received_types[key] != {kind}:
            yield f"job {key} was told as {dict(received)}, not as one {kind}"
        elif str(finals[0].id).replace("-", "") not in next(iter(received)).replace(
            "-", ""
        ):
            yield f"job {key} was told under another id: {received}"
    for invalid in evidence.invalid:
        yield f"a webhook without a valid signature: {invalid}"


def every_permit_is_back(evidence: Evidence) -> Iterator[str]:
    if evidence.permits_held:
        yield f"{evidence.permits_held} permits are still held"


def upstream_refused_nothing(evidence: Evidence) -> Iterator[str]:
    if evidence.refused:
        yield f"the upstream's true limits refused {evidence.refused} calls (429)"


def no_process_is_orphaned(evidence: Evidence) -> Iterator[str]:
    for orphan in evidence.orphans:
        yield f"a process that nobody supervises: {orphan}"


CHECKS = (
    every_request_made_one_job,
    every_job_is_final,
    one_transcript_per_completed_job,
    no_attempt_is_open,
    ledger_equals_upstream_log,
    no_call_was_repeated_without_need,
    unknown_only_where_a_process_died,
    every_end_was_told,
    every_permit_is_back,
    upstream_refused_nothing,
    no_process_is_orphaned,
)


def find_orphans(platform: Platform) -> list[str]:
    """Return the processes of this run that stand outside every child's group."""
    groups = {child.process.pid for child in platform.supervisor.children}
    return [
        f"{process.pid} {' '.join(process.cmdline())}"
        for process in platform.members().values()
        if not groups & {process.pid, *(each.pid for each in process.parents())}
    ]


def _may_be_lost(attempt: Any, evidence: Evidence) -> bool:
    """Tell whether the log of this call died with the emulator, or never was."""
    return any(
        attempt.started_at - CLOCK_SLACK <= until and attempt.finished_at >= since
        for since, until in evidence.gaps
    )


def _tag(call: dict[str, Any], prefix: str) -> str:
    found = (tag.removeprefix(prefix) for tag in call["tags"] if tag.startswith(prefix))
    return next(found, "")


def _name(job: str, attempt: Any) -> str:
    told = json.dumps(
        [attempt.outcome, attempt.error_code, attempt.request_id], separators=(",", ":")
    )
    return f"attempt {job}.{attempt.lease_token} {told}"


def _some(names: set[str]) -> str:
    return ", ".join(sorted(names)[:3])
