"""A request's trace is on whatever it writes, with tracing off as it is by default."""

import json

import pytest

from jobs.models import Batch, Job
from tests.support.api import assert_problem
from tests.support.factories import make_job
from transcribe_platform.logs import JsonFormatter

TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
THEIRS = f"00-{TRACE_ID}-b7ad6b7169203331-01"
ITEM = {"audio_url": "https://audio.example.com/1.wav"}
ITEMS = json.dumps({"items": [ITEM, ITEM]}).encode()
BODIES = {
    "a job": ("/v1/jobs", json.dumps(ITEM).encode(), "application/json", 1),
    "a batch": ("/v1/batches", ITEMS, "application/json", 2),
    "a manifest": (
        "/v1/batches",
        (json.dumps(ITEM) + "\n").encode() * 3,
        "application/x-ndjson",
        3,
    ),
}


@pytest.mark.parametrize("what", BODIES)
def test_what_a_request_writes_is_in_its_trace(api, what):
    path, body, kind, jobs = BODIES[what]

    answer = api.post(
        path, body=body, content_type=kind, headers={"traceparent": THEIRS}
    )

    assert answer.status_code == 202, answer.content
    assert [job.traceparent for job in Job.objects.all()] == [THEIRS] * jobs
    assert {batch.traceparent for batch in Batch.objects.all()} <= {THEIRS}


def test_a_request_without_a_trace_gets_one_of_its_own(api):
    for given in ("", "00-nonsense"):
        api.post("/v1/jobs", body=ITEM, headers={"traceparent": given})

    first, second = (job.traceparent for job in Job.objects.all())
    assert first[:3] == second[:3] == "00-"
    assert first[-3:] == second[-3:] == "-00"  # nobody keeps its spans
    assert first[3:35] != second[3:35]


def test_a_retry_is_in_the_trace_of_whoever_asks_for_it(api):
    job = make_job(api.tenant, status="failed")

    api.post(f"/v1/jobs/{job.pk}/retry", headers={"traceparent": THEIRS})

    assert Job.objects.get(retry_of=job).traceparent == THEIRS
    job.refresh_from_db()
    assert job.traceparent != THEIRS


def test_a_problem_and_the_line_about_it_name_the_trace(api, caplog):
    answer = api.get("/v1/jobs/nobodys", {"traceparent": THEIRS})
    lines = [json.loads(JsonFormatter().format(record)) for record in caplog.records]

    problem = assert_problem(answer, 404, "not_found")
    assert problem["trace_id"] == TRACE_ID
    assert {(line["trace_id"], line["request_id"]) for line in lines} == {
        (TRACE_ID, problem["request_id"])
    }
