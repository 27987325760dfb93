"""The same words, absent values and costs in all resources."""

import json

import pytest
from django.utils import timezone

from jobs.batches import statistics
from jobs.batches.statistics import BatchStatus
from jobs.models import Batch, BatchState, Event, Job
from jobs.retention import erasure
from tests.support.api import assert_problem
from tests.support.factories import make_job, make_transcript, move_job
from workers.webhooks.messages import payloads
from workers.webhooks.models import WebhookEndpoint

RAW = {"metadata": {"duration": 2.5}, "results": {"channels": []}}
URL = "https://audio.example.com/a.wav"


def submit(api, **fields):
    return api.post("/v1/jobs", {"audio_url": URL, **fields}).json()


def patch(api, job, **changes):
    return api.send("PATCH", f"/v1/jobs/{job['id']}", changes)


class TestUpdate:
    def test_a_job_gets_an_id_at_submission_and_another_later(self, api):
        job = submit(api, custom_id="call-1")
        assert job["custom_id"] == "call-1"

        answer = patch(api, job, custom_id="call-2")

        assert (answer.status_code, answer.json()["custom_id"]) == (200, "call-2")
        assert patch(api, job, custom_id=None).json()["custom_id"] is None

    def test_metadata_is_merged_and_null_removes_a_key(self, api):
        job = submit(api, metadata={"a": "1", "b": "2"})

        answer = patch(api, job, metadata={"b": None, "c": 3}).json()

        assert answer["metadata"] == {"a": "1", "c": 3}
        assert api.get(f"/v1/jobs/{job['id']}").json()["metadata"] == {"a": "1", "c": 3}
        assert Event.objects.get(type="job.updated").data == {
            "fields": ["metadata"],
            "job_id": job["id"],
        }

    @pytest.mark.parametrize(
        ("changes", "code"),
        [
            ({"metadata": {"k": ["list"]}}, "metadata_invalid"),
            ({"metadata": {str(n): "x" for n in range(16)}}, "metadata_invalid"),
            ({"metadata": "text"}, "field_invalid"),
            ({"metadata": None}, "field_invalid"),
            ({"custom_id": "x" * 129}, "field_invalid"),
            ({"custom_id": "line\nbreak"}, "field_invalid"),
            ({"custom_id": ""}, "field_invalid"),
            ({"priority": "high"}, "field_unknown"),
        ],
    )
    def test_what_exceeds_the_limits_changes_nothing(self, api, changes, code):
        job = submit(api, metadata={"own": "1"}, custom_id="own")

        assert_problem(patch(api, job, **changes), 400, code)

        row = Job.objects.get()
        assert (row.metadata, row.custom_id) == ({"own": "1"}, "own")

    def test_an_id_of_another_job_of_the_batch_is_refused(self, api):
        items = [{"audio_url": URL, "custom_id": name} for name in ("one", "two")]
        api.post("/v1/batches", {"items": items})
        first, second = Job.objects.order_by("line", "pk")

        answer = patch(api, {"id": second.pk}, custom_id=first.custom_id)

        assert_problem(answer, 400, "custom_id_repeated")
        assert (
            patch(api, {"id": first.pk}, custom_id=first.custom_id).status_code == 200
        )

    def test_search_finds_the_new_metadata(self, api, media):
        row = make_job(api.tenant, status="completed", metadata={"team": "a"})
        make_transcript(row, json.dumps(RAW).encode())

        patch(api, {"id": row.pk}, metadata={"team": "b"})

        found = [
            api.get(f"/v1/transcripts?metadata.team={team}").json()["data"]
            for team in ("a", "b")
        ]
        assert [len(each) for each in found] == [0, 1]

    def test_an_erased_job_gets_no_new_data(self, api):
        job = submit(api)
        row = move_job(Job.objects.get(), "canceled")
        erasure.erase_job(job=row, actor="", now=timezone.now())

        assert_problem(patch(api, job, metadata={"a": "1"}), 410, "erased")


BATCHES = {
    BatchStatus.PREPARING: {"state": BatchState.PREPARING},
    BatchStatus.PROCESSING: {},
    BatchStatus.PAUSED: {"is_paused": True},
    BatchStatus.CANCELING: {"cancel_requested_at": timezone.now(), "is_paused": True},
    BatchStatus.COMPLETED: {"finished_at": timezone.now(), "completed": 2},
}


def make_batch(api, **fields):
    return Batch.objects.create(tenant=api.tenant, total=2, **fields)


class TestBatches:
    def test_a_list_is_filtered_by_status(self, api):
        made = {status: make_batch(api, **BATCHES[status]) for status in BatchStatus}

        for status, batch in made.items():
            assert statistics.get_status(batch) == status
            (found,) = api.get(f"/v1/batches?status={status}").json()["data"]
            assert (found["id"], found["status"]) == (str(batch.pk), status)

    def test_a_list_is_filtered_by_time_and_metadata(self, api):
        old = make_batch(api, metadata={"team": "a"})
        new = make_batch(api, metadata={"team": "b"})
        moment = new.created_at.isoformat().replace("+00:00", "Z")

        def find(query):
            rows = api.get(f"/v1/batches?{query}").json()["data"]
            return [each["id"] for each in rows]

        assert find("metadata.team=a") == [str(old.pk)]
        assert find(f"created_after={moment}") == [str(new.pk)]
        assert find(f"created_before={moment}") == [str(old.pk)]
        assert_problem(api.get("/v1/batches?status=done"), 400, "parameter_invalid")

    @pytest.mark.parametrize(
        ("counts", "outcome"),
        [
            ({"completed": 2}, "succeeded"),
            ({"completed": 2, "skipped": 1}, "partially_succeeded"),
            ({"completed": 1, "failed": 1}, "partially_succeeded"),
            ({"failed": 1, "expired": 1}, "failed"),
            ({"failed": 1, "canceled": 1}, "failed"),
            ({"canceled": 2}, "canceled"),
        ],
    )
    def test_a_batch_tells_success_from_failure(self, api, counts, outcome):
        batch = make_batch(api, finished_at=timezone.now(), **counts)

        shown = api.get(f"/v1/batches/{batch.pk}").json()

        assert (shown["status"], shown["outcome"]) == ("completed", outcome)
        assert statistics.describe(batch)["outcome"] == outcome

    def test_an_open_batch_has_no_outcome_and_all_urls(self, api):
        batch = make_batch(api)

        shown = api.get(f"/v1/batches/{batch.pk}").json()

        assert (shown["outcome"], shown["currency"]) == (None, "USD")
        for name in ("jobs_url", "results_url", "errors_url", "archive_url"):
            path = shown[name].removeprefix("http://localhost:8000")
            assert api.get(path).status_code in {200, 409}, name

    def test_a_check_uses_the_words_of_the_batch(self, api):
        items = [{"audio_url": URL}, {"audio_url": "no"}, {"audio_url": URL}]

        answer = api.post("/v1/batches/check", {"items": items})
        batch = api.post("/v1/batches", {"items": items, "on_error": "skip"}).json()

        *_, counts = map(json.loads, b"".join(answer.streaming_content).splitlines())
        assert counts == {"lines": 3, "total": 2, "skipped": 1, "good": 2, "bad": 1}
        assert (batch["counts"]["total"], batch["skipped"]) == (2, 1)


class TestAbsentValues:
    @pytest.mark.parametrize(
        ("detected", "requested", "language"),
        [
            ("de", "en", "de"),
            ("", "en-GB", "en-GB"),
            ("", "multi", None),
            ("", None, None),
        ],
    )
    def test_a_recording_has_one_language(
        self, api, media, detected, requested, language
    ):
        options = {"model": "nova-3"} | ({"language": requested} if requested else {})
        row = make_job(api.tenant, status="completed", options=options)
        transcript = make_transcript(row, json.dumps(RAW).encode(), language=detected)

        (hit,) = api.get("/v1/transcripts").json()["data"]
        shown = api.get(f"/v1/transcripts/{row.pk}").json()
        message = payloads.build_result(transcript, options=row.options)

        assert [each["language"] for each in (hit, shown, message)] == [language] * 3

    def test_all_event_types_are_null(self, api):
        body = {"url": "https://hooks.example.com/x", "event_types": None}

        made = api.post("/v1/webhook-endpoints", body).json()

        assert (made["event_types"], made["description"]) == (None, None)
        some = api.send(
            "PATCH",
            f"/v1/webhook-endpoints/{made['id']}",
            {"event_types": ["job.completed"]},
        )
        assert some.json()["event_types"] == ["job.completed"]
        all_ = api.send(
            "PATCH", f"/v1/webhook-endpoints/{made['id']}", {"event_types": None}
        )
        assert all_.json()["event_types"] is None
        assert WebhookEndpoint.objects.get().event_types == []

    def test_usage_names_its_currency(self, api):
        report = api.get("/v1/usage?group_by=model").json()
        assert report["totals"]["currency"] == "USD"

        csv = api.get("/v1/usage?group_by=model&format=csv").content.decode()
        assert csv.splitlines()[0].endswith(",cost_estimate,currency")
