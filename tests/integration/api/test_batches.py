import json
from datetime import timedelta
from uuid import uuid4

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from jobs import services
from jobs.batches import records
from jobs.models import Batch, Event, Job
from jobs.state import JobStatus
from tests.support import batches
from tests.support.api import Api, assert_problem
from tests.support.factories import make_attempt, make_key, make_region, make_tenant
from tests.support.parallel import in_parallel
from workers.webhooks.delivery import fan_out as webhooks
from workers.webhooks.models import WebhookDelivery

URL = "https://audio.example.com/{}.wav"


def items(number, **fields):
    return [{"audio_url": URL.format(index), **fields} for index in range(number)]


def submit_batch(api, number=2, **fields):
    answer = api.post("/v1/batches", body={"items": items(number), **fields})
    assert answer.status_code == 202, answer.content
    return Batch.objects.get(pk=answer.json()["id"])


def end(jobs, status=JobStatus.CANCELED):
    rows = Job.objects.filter(pk__in=[job.pk for job in jobs])
    return services.advance(rows, to=status, at=timezone.now())


def fan_out():
    return webhooks.fan_out(limit=10_000, now=timezone.now())


def told(batch):
    events = Event.objects.filter(batch=batch).order_by("pk")
    return [(event.type, event.data["percent"]) for event in events]


def test_a_batch_makes_a_job_of_each_item(api):
    body = {
        "items": [
            {"audio_url": URL.format("a"), "metadata": {"n": 1}},
            {
                "audio_url": URL.format("b"),
                "priority": "low",
                "options": {"model": "nova-2"},
            },
        ],
        "defaults": {
            "priority": "high",
            "options": {"diarize": True},
            "metadata": {"s": "x"},
        },
        "metadata": {"order": "7"},
    }

    answer = api.post("/v1/batches", body=body)

    assert answer.status_code == 202, answer.content
    batch = answer.json()
    assert answer.headers["Location"] == f"/v1/batches/{batch['id']}"
    assert batch["counts"] == {
        "total": 2, "open": 2, "completed": 0, "failed": 0, "canceled": 0, "expired": 0,
    }  # fmt: skip
    assert (batch["status"], batch["metadata"]) == ("processing", {"order": "7"})
    first, second = Job.objects.filter(batch=batch["id"]).order_by("pk")
    assert (first.priority, first.metadata) == (3, {"s": "x", "n": 1})
    assert second.priority == 9
    assert second.options == {
        "model": "nova-2", "smart_format": True, "diarize": True,
    }  # fmt: skip
    listed = api.get(f"/v1/jobs?batch_id={batch['id']}").json()["data"]
    assert [job["batch_id"] for job in listed] == [batch["id"]] * 2


@pytest.mark.parametrize(
    ("body", "pointer", "code"),
    [
        ({}, "/items", "field_required"),
        ({"items": []}, "/items", "field_invalid"),
        ({"items": items(1001)}, "/items", "field_invalid"),
        ({"items": ["x"]}, "/items/0", "field_invalid"),
        ({"items": [{}]}, "/items/0/audio_url", "field_required"),
        ({"items": [*items(1), {"audio_url": "http://127.0.0.1/"}]}, "/items/1/audio_url", "url_not_allowed"),
        ({"items": items(1, file="x")}, "/items/0/file", "field_unknown"),
        ({"items": items(1, options={"modell": 1})}, "/items/0/options/modell", "option_unknown"),
        ({"items": items(1, options={"keywords": ["x"]})}, "/items/0/options/keywords", "option_conflict"),
        ({"items": items(1, allowed_regions=["mars"])}, "/items/0/allowed_regions", "region_not_allowed"),
        ({"items": items(1), "defaults": {"audio_url": URL}}, "/defaults/audio_url", "field_unknown"),
        ({"items": items(1), "defaults": {"priority": "x"}}, "/defaults/priority", "field_invalid"),
        ({"items": items(1), "nonsense": 1}, "/nonsense", "field_unknown"),
        ({"items": items(1), "callback_url": "http://a.example.com/"}, "/callback_url", "url_not_allowed"),
    ],
)  # fmt: skip
def test_one_wrong_item_refuses_the_whole_batch(api, body, pointer, code):
    make_region("eu-west-1")

    answer = api.post("/v1/batches", body=body)

    problem = assert_problem(answer, 400, code)
    assert [entry["pointer"] for entry in problem["errors"]] == [pointer]
    assert (Batch.objects.count(), Job.objects.count(), Event.objects.count()) == (
        0,
        0,
        0,
    )


def test_every_wrong_item_is_named_up_to_a_hundred(api):
    wrong = [{"audio_url": "ftp://a.example.com/x"}] * 150

    problem = assert_problem(
        api.post("/v1/batches", body={"items": wrong}), 400, "invalid_request"
    )

    assert [e["pointer"] for e in problem["errors"]] == [
        f"/items/{n}/audio_url" for n in range(100)
    ]


def test_what_is_no_item_at_all_is_named_beside_what_is_a_wrong_one(api):
    wrong = [7, {"audio_url": "ftp://a.example.com/x"}, *items(1)]

    answer = api.post("/v1/batches", body={"items": wrong})

    problem = assert_problem(answer, 400, "invalid_request")
    told = [(e["pointer"], e["code"]) for e in problem["errors"]]
    assert told == [
        ("/items/0", "field_invalid"),
        ("/items/1/audio_url", "url_not_allowed"),
    ]


def test_wrong_items_can_be_left_out_and_are_listed_by_their_number(api):
    wrong = [*items(1), {"audio_url": "ftp://a.example.com/ü"}, 7]

    answer = api.post("/v1/batches", body={"items": wrong, "on_error": "skip"})

    batch = answer.json()
    assert (batch["counts"]["total"], batch["skipped"]) == (1, 2)
    answer = api.get(f"/v1/batches/{batch['id']}/errors")
    told = [json.loads(line) for line in answer.getvalue().splitlines()]
    shown = [tuple(e[k] for k in ("line", "pointer", "code", "excerpt")) for e in told]
    assert shown == [
        (2, "/audio_url", "url_invalid", '{"audio_url": "ftp://a.example.com/ü"}'),
        (3, None, "field_invalid", "7"),
    ]
    assert [job.line for job in Job.objects.all()] == [1]


def test_the_same_key_makes_one_batch(api):
    headers = {"Idempotency-Key": "b-1"}
    first = api.post("/v1/batches", body={"items": items(2)}, headers=headers)
    again = api.post("/v1/batches", body={"items": items(2)}, headers=headers)
    other = api.post("/v1/batches", body={"items": items(3)}, headers=headers)

    assert again.json() == first.json()
    assert again.headers["Idempotency-Replayed"] == "true"
    assert_problem(other, 422, "idempotency_key_reused")
    assert (Batch.objects.count(), Job.objects.count()) == (1, 2)


def test_batches_are_listed_newest_first_and_only_to_their_tenant(api):
    made = [submit_batch(api, 1) for _ in range(3)]
    stranger = Api(make_tenant())

    page = api.get("/v1/batches?limit=2").json()
    rest = api.get(f"/v1/batches?cursor={page['next_cursor']}").json()

    assert [b["id"] for b in page["data"] + rest["data"]] == [
        str(batch.pk) for batch in reversed(made)
    ]
    assert stranger.get("/v1/batches").json()["data"] == []
    assert_problem(stranger.get(f"/v1/batches/{made[0].pk}"), 404, "not_found")
    assert stranger.get(f"/v1/jobs?batch_id={made[0].pk}").json()["data"] == []
    assert_problem(api.get("/v1/batches/" + str(uuid4())), 404, "not_found")


def test_its_counters_and_events_follow_its_jobs(api):
    batch = submit_batch(api, 8)
    jobs = list(batch.jobs.order_by("pk"))
    fan_out()

    for part in (jobs[:1], jobs[1:2], jobs[2:6], jobs[6:7], jobs[7:]):
        end(part)
        fan_out()

    assert told(batch) == [
        ("batch.progress", 25),
        ("batch.progress", 75),
        ("batch.completed", 100),
    ]
    shown = api.get(f"/v1/batches/{batch.pk}").json()
    assert (shown["status"], shown["counts"]["canceled"]) == ("completed", 8)
    assert shown["finished_at"]


def test_a_batch_that_ends_at_once_is_told_of_once(api):
    batch = submit_batch(api, 5)
    end(batch.jobs.all())

    fan_out()
    fan_out()

    assert told(batch) == [("batch.completed", 100)]


def test_its_callback_url_is_told_of_the_batch_and_not_of_its_jobs(api):
    batch = submit_batch(api, 1, callback_url="https://hooks.example.com/batch")
    end(batch.jobs.all())

    fan_out()
    fan_out()

    sent = [
        (d.event.type, d.url) for d in WebhookDelivery.objects.select_related("event")
    ]
    assert sent == [("batch.completed", "https://hooks.example.com/batch")]


def test_the_jobs_of_all_batches_are_counted_by_one_statement(api):
    batches = [submit_batch(api, 10) for _ in range(5)]
    for number, batch in enumerate(batches, start=1):
        end(list(batch.jobs.all())[:number])
    make_attempt(batches[1].jobs.order_by("pk")[0])

    with CaptureQueriesContext(connection) as captured:
        fan_out()

    counted = [each for each in captured if each["sql"].lstrip().startswith("UPDATE")]
    assert sum("jobs_batch AS batch" in each["sql"] for each in counted) == 1
    for number, batch in enumerate(batches, start=1):
        batch.refresh_from_db()
        assert (batch.canceled, batch.done) == (number, number)
    spent = [(batch.audio_seconds, float(batch.cost_estimate)) for batch in batches]
    assert spent == [(0.0, 0.0), (60.0, 0.0043), *[(0.0, 0.0)] * 3]


@pytest.mark.django_db(transaction=True)
def test_dispatchers_at_once_count_the_jobs_of_many_batches_once():
    tenant = make_tenant()
    drafts = [services.JobDraft(audio_url=URL.format(n)) for n in range(20)]
    for _ in range(4):
        batches.submit_batch(
            tenant=tenant,
            api_key=None,
            draft=records.BatchDraft(jobs=drafts, metadata={}),
            now=timezone.now() - timedelta(minutes=1),
        )
    # Their events are interleaved, so that each slice has some of every batch.
    for job in Job.objects.order_by("audio_url"):
        end([job])

    def drain() -> None:
        while webhooks.fan_out(limit=7, now=timezone.now()):
            pass

    in_parallel(3, drain)

    assert set(Batch.objects.values_list("canceled", flat=True)) == {20}
    completed = Event.objects.filter(type="batch.completed")
    assert completed.count() == 4


@pytest.mark.django_db(transaction=True)
def test_two_fan_outs_at_once_end_a_batch_once():
    tenant = make_tenant()
    key, _ = make_key(tenant)
    for _ in range(10):
        drafts = [services.JobDraft(audio_url=URL.format(n)) for n in range(2)]
        batch = batches.submit_batch(
            tenant=tenant,
            api_key=key,
            draft=records.BatchDraft(jobs=drafts, metadata={}),
            now=timezone.now() - timedelta(minutes=1),
        )
        jobs = list(batch.jobs.all())
        end(jobs)

        # One event each: the two threads end the batch's last two jobs together.
        in_parallel(2, lambda: webhooks.fan_out(limit=1, now=timezone.now()))

        batch.refresh_from_db()
        assert batch.canceled == 2
        kinds = [kind for kind, _ in told(batch) if kind == "batch.completed"]
        assert kinds == ["batch.completed"]
        fan_out()


def test_a_thousand_jobs_are_one_request(api, django_assert_max_num_queries):
    with django_assert_max_num_queries(20):
        answer = api.post("/v1/batches", body={"items": items(1000)})

    assert answer.status_code == 202
    assert Job.objects.count() == 1000
    assert json.loads(answer.content)["counts"]["total"] == 1000


def test_items_have_ids_of_their_own(api):
    body = {"items": [{**items(1)[0], "custom_id": "call 7"}, *items(1)]}

    batch = api.post("/v1/batches", body=body).json()

    listed = api.get(f"/v1/jobs?batch_id={batch['id']}").json()["data"]
    assert [job["custom_id"] for job in listed] == [None, "call 7"]


@pytest.mark.parametrize(
    ("custom_id", "code"),
    [
        ("twice", "custom_id_repeated"),
        ("", "field_invalid"),
        ("x" * 129, "field_invalid"),
        ("a\tb", "field_invalid"),
    ],
)
def test_an_id_is_of_one_item_and_can_be_read(api, custom_id, code):
    named = [{**items(1)[0], "custom_id": each} for each in ("twice", custom_id)]

    answer = api.post("/v1/batches", body={"items": named})

    problem = assert_problem(answer, 400, code)
    assert [e["pointer"] for e in problem["errors"]] == ["/items/1/custom_id"]
    assert problem["error_count"] == 1
    assert Batch.objects.count() == 0
