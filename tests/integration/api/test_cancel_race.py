"""A cancel that meets the end of its job's call: one waits, and nobody in a circle."""

import threading

import pytest
from django.db import connection, transaction
from django.utils import timezone

from jobs import services
from jobs.models import Attempt, Job
from jobs.state import JobStatus
from tests.factories import make_attempt, make_job, move_job
from tests.integration.api.conftest import Api, assert_problem
from workers.embedded.processes import wait_until

_WAITING = """
SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database() AND wait_event_type = 'Lock'
"""


def somebody_waits():
    with connection.cursor() as cursor:
        cursor.execute(_WAITING)
        return cursor.fetchone()[0] > 0


@pytest.mark.django_db(transaction=True)
def test_a_cancel_waits_for_a_call_that_is_just_ending():
    api, answers = Api(), []
    job = make_job(api.tenant, status=JobStatus.PROCESSING)
    Job.objects.filter(pk=job.pk).update(started_at=timezone.now())
    attempt = make_attempt(job, outcome="open")

    def cancel():
        answers.append(api.post(f"/v1/jobs/{job.pk}/cancel"))
        connection.close()

    thread = threading.Thread(target=cancel)
    with transaction.atomic():
        # As a worker commits a result: the call, then its job.
        services.close_attempt(
            attempt, outcome=Attempt.Outcome.OK, now=timezone.now(), audio_seconds=1.0
        )
        thread.start()
        assert wait_until(somebody_waits, seconds=10)
        move_job(job, JobStatus.COMPLETED)
    thread.join(10)

    assert_problem(answers[0], 409, "job_state_conflict")
    assert Job.objects.get().status == JobStatus.COMPLETED
    assert Attempt.objects.get().outcome == Attempt.Outcome.OK
