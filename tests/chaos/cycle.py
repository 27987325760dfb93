"""One cycle: jobs come in, disasters strike, the dust settles, everything is checked."""

import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass

import psycopg

from tests.chaos import invariants
from tests.chaos.customers import Customers
from tests.chaos.disasters import Disaster
from tests.chaos.platform import Platform

SETTLE_SECONDS = 150.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """How many jobs come in a cycle and how fast; disasters strike among them."""

    name: str
    jobs: int
    per_second: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """How a cycle went."""

    broken: list[str]
    seconds: float
    settled_in: float
    retried_submits: int
    unknown: int
    calls: int


def play(
    platform: Platform, load: Load, strikes: Sequence[tuple[float, Disaster]]
) -> Report:
    """Play disasters at their shares of the load's way in; return what is broken."""
    began = time.monotonic()
    customers = Customers(
        platform, jobs=load.jobs, per_second=load.per_second, name=load.name
    )
    with closing(customers):
        for share, strike in strikes:
            platform.wait(
                lambda share=share: (
                    customers.are_done() or len(customers.accepted) >= share * load.jobs
                ),
                seconds=SETTLE_SECONDS,
                what=f"{share:.0%} of the jobs are accepted",
            )
            strike(platform)
        platform.wait(
            customers.are_done, seconds=SETTLE_SECONDS, what="all jobs are accepted"
        )
    accepted_at = time.monotonic()
    settle(platform)
    evidence = invariants.gather(platform)
    return Report(
        broken=invariants.find_broken(evidence),
        seconds=time.monotonic() - began,
        settled_in=time.monotonic() - accepted_at,
        retried_submits=customers.retries,
        unknown=sum(
            attempt.outcome == "unknown"
            for attempts in evidence.attempts.values()
            for attempt in attempts
        ),
        calls=sum(map(len, evidence.calls.values())),
    )


def settle(platform: Platform) -> None:
    """Wait until nothing is left to be done, and a lease longer for lost permits."""
    platform.wait_whole()
    platform.wait(
        lambda: is_quiet(platform),
        seconds=SETTLE_SECONDS,
        what=f"nothing is left to be done, but: {_LEFT}",
    )
    patience = platform.setup.lease_seconds + 1
    end = time.monotonic() + patience
    platform.wait(
        lambda: not platform.permits_held() or time.monotonic() > end,
        seconds=2 * patience,
        what="permits are back",
    )


_LEFT = """
SELECT (SELECT count(*) FROM jobs_job WHERE finished_at IS NULL),
       (SELECT count(*) FROM jobs_attempt WHERE finished_at IS NULL),
       (SELECT count(*) FROM jobs_event WHERE fanned_out_at IS NULL),
       (SELECT count(*) FROM webhooks_webhookdelivery WHERE finished_at IS NULL)
"""


def is_quiet(platform: Platform) -> bool:
    """Tell whether every job, call, event and delivery has come to its end."""
    try:
        return not any(platform.rows(_LEFT)[0])
    except psycopg.Error:
        return False
