from io import StringIO

import pytest
from django.core.management import call_command

from jobs.models import Attempt, Job
from tests.support.engine import Engine
from tests.support.factories import make_unique_wav
from tests.support.fake_backend import FakeBackend


@pytest.fixture
def ledger(engine, emulator, settings) -> Engine:
    settings.DEEPGRAM_API_KEY = "test-key"
    settings.CALL_DEADLINE_SECONDS = 0
    engine.region.base_url = emulator.url
    engine.region.save()
    return engine


def crash(ledger: Engine) -> Job:
    """Run a job whose worker dies in the call."""

    class Dies(Exception):
        pass

    backend = FakeBackend()

    def die() -> None:
        raise Dies

    job = ledger.submit()
    ledger.tick()
    backend.during = die
    with pytest.raises(Dies):
        ledger.run(job, backend)
    ledger.lose_lease(job)
    ledger.tick()
    return job


def call_upstream(emulator, job: Job, *tags: str) -> None:
    answer = emulator.http.post(
        "/v1/listen",
        params={"model": "nova-3", "tag": [f"job:{job.pk}", "claim:1", *tags]},
        content=make_unique_wav(6.0),
        headers={"authorization": "Token test-key", "content-type": "audio/wav"},
    )
    assert answer.status_code in {200, 503}


def reconcile() -> Attempt:
    call_command("reconcile_attempts", stdout=StringIO())
    return Attempt.objects.order_by("id")[0]


def test_a_call_that_was_answered_is_paid_for(ledger, emulator):
    job = crash(ledger)
    call_upstream(emulator, job)
    assert Attempt.objects.order_by("id")[0].outcome == "unknown"

    attempt = reconcile()

    assert (attempt.outcome, attempt.status_code) == ("ok", 200)
    assert attempt.audio_seconds == pytest.approx(6.0, abs=0.01)
    assert float(attempt.cost_estimate) == pytest.approx(0.00043)
    assert attempt.reconciled_at is not None


def test_a_call_that_failed_cost_nothing(ledger, emulator):
    call_upstream(emulator, crash(ledger), "emu:503")

    attempt = reconcile()

    assert (attempt.outcome, attempt.status_code) == ("error", 503)
    assert attempt.cost_estimate == 0


def test_a_call_that_never_arrived_is_said_to(ledger):
    crash(ledger)

    attempt = reconcile()

    assert (attempt.outcome, attempt.error_code) == ("error", "never_arrived")


def test_what_may_still_run_is_left_alone(ledger, settings):
    settings.CALL_DEADLINE_SECONDS = 60
    crash(ledger)

    assert reconcile().outcome == "unknown"
