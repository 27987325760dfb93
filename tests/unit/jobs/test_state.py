import pickle

import pytest

from jobs.errors import UpstreamError
from jobs.state import ALLOWED_TRANSITIONS, FINAL, OPEN, JobStatus, find_sources


def test_every_status_is_in_the_table():
    assert set(ALLOWED_TRANSITIONS) == set(JobStatus)


@pytest.mark.parametrize("status", sorted(FINAL))
def test_final_is_final(status):
    assert ALLOWED_TRANSITIONS[status] == frozenset()


def test_a_job_completes_while_it_is_open():
    assert set(find_sources(JobStatus.COMPLETED)) == set(OPEN)


def test_an_error_survives_pickling():

    error = UpstreamError("m", code="c", status=503, retry_after=2.0, request_id="r")

    again = pickle.loads(pickle.dumps(error))

    assert vars(again) == vars(error)
    assert str(again) == "m"
