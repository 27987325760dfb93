import threading
from datetime import UTC, datetime

import pytest
from django.db import connection, transaction

from jobs import calls, services
from jobs.errors import JobStateError
from jobs.models import Attempt, Job
from jobs.state import JobStatus
from tests.support.database import is_a_query_blocked
from tests.support.platform_run import wait_until


@pytest.fixture
def committed(transactional_db):
    """Before `engine`: two connections have to see its rows."""


def test_a_cancel_and_the_end_of_a_call_do_not_wait_for_each_other(committed, engine):
    job = engine.submit()
    engine.tick()
    job.refresh_from_db()
    now = datetime.now(UTC)
    _, attempt = calls.start_call(
        job_id=job.pk, lease_token=job.lease_token, worker="w", now=now
    )
    raised: list[BaseException] = []

    def cancel() -> None:
        try:
            services.cancel_job(job=job, now=now)
        except JobStateError as error:
            raised.append(error)
        finally:
            connection.close()

    canceling = threading.Thread(target=cancel)
    with transaction.atomic():  # as finish does: the attempt, then the job
        calls.close_attempts(
            [calls.CallFacts(attempt=attempt, outcome=Attempt.Outcome.OK)], now=now
        )
        canceling.start()
        assert wait_until(is_a_query_blocked, seconds=10)
        moved = services.advance(
            Job.objects.filter(pk=job.pk), to=JobStatus.COMPLETED, at=now
        )
    canceling.join(10)

    assert len(moved) == 1
    assert len(raised) == 1
    assert Attempt.objects.get().outcome == "ok"
