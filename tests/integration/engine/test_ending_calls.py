"""The dispatcher's rounds while a job's call is just ending: nobody waits in a circle."""

import threading
from datetime import timedelta

import pytest
from django.db import connection, transaction
from django.utils import timezone

from jobs import calls
from jobs.models import Attempt, Job
from jobs.scheduling import leases
from jobs.state import JobStatus
from tests.support.factories import make_attempt, make_job, move_job


@pytest.mark.parametrize("round_", [leases.requeue_lost, leases.expire])
@pytest.mark.django_db(transaction=True)
def test_a_dispatcher_leaves_a_call_that_is_just_ending_to_its_end(round_):
    now, moved = timezone.now(), []
    job = make_job(status=JobStatus.PROCESSING)
    late = now - timedelta(seconds=1)
    Job.objects.filter(pk=job.pk).update(
        started_at=late, lease_until=late, expires_at=late
    )
    attempt = make_attempt(job, outcome="open")

    def tick():
        moved.append(in_a_transaction(lambda: round_(now=now)))
        connection.close()

    thread = threading.Thread(target=tick)
    with transaction.atomic():
        calls.close_attempts(
            [calls.CallFacts(attempt=attempt, outcome=Attempt.Outcome.OK)], now=now
        )
        thread.start()
        thread.join(10)
        assert moved == [0]  # without waiting
        move_job(job, JobStatus.COMPLETED)

    assert Job.objects.get().status == JobStatus.COMPLETED
    assert Attempt.objects.get().outcome == Attempt.Outcome.OK


def in_a_transaction(work):
    with transaction.atomic():
        return work()
