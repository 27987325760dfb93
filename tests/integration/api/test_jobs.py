from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from django.utils import timezone

from jobs.models import Attempt, Job
from tests.support.api import Api, assert_problem
from tests.support.factories import make_job, make_key, make_region, make_tenant


def test_a_running_job_says_when_to_look_again(api):
    job = make_job(api.tenant, status="processing")

    answer = api.get(f"/v1/jobs/{job.pk}")

    assert answer.headers["Retry-After"] == "2"
    assert (answer.json()["status"], answer.json()["region"]) == ("processing", "local")


@pytest.mark.parametrize(("seconds", "wait"), [(5, "5"), (3600, "60"), (-5, "1")])
def test_a_waiting_job_shows_its_next_attempt(api, seconds, wait):
    job = make_job(api.tenant)
    run_at = timezone.now() + timedelta(seconds=seconds)
    Job.objects.filter(pk=job.pk).update(ready=False, run_at=run_at)

    answer = api.get(f"/v1/jobs/{job.pk}")

    assert answer.headers["Retry-After"] == wait
    assert datetime.fromisoformat(answer.json()["next_attempt_at"]) == run_at


def test_a_failed_job_says_why_and_that_it_is_over(api):
    job = make_job(api.tenant, status="failed")

    answer = api.get(f"/v1/jobs/{job.pk}")

    assert "Retry-After" not in answer.headers
    shown = answer.json()
    assert shown["error"] == {"code": "upstream_error", "detail": "It failed."}
    assert shown["result_url"] is None
    assert shown["finished_at"] is not None


def test_a_completed_job_says_where_its_result_is(api, settings):
    job = make_job(api.tenant, status="completed")

    shown = api.get(f"/v1/jobs/{job.pk}").json()

    assert shown["result_url"] == f"{settings.BASE_URL}/v1/transcripts/{job.pk}"
    assert shown["error"] is None


def test_attempts_are_listed_oldest_first(api):
    job = make_job(api.tenant, status="processing")
    at = datetime(2026, 1, 1, tzinfo=UTC)
    for number in (1, 2):
        Attempt.objects.create(
            job=job,
            tenant=job.tenant,
            lease_token=number,
            region=make_region(),
            outcome="error",
            error_code=f"error_{number}",
            status_code=500,
            request_id=f"req-{number}",
            worker="worker-1",
            started_at=at,
            finished_at=at,
        )

    page = api.get(f"/v1/jobs/{job.pk}/attempts").json()

    assert [attempt["error_code"] for attempt in page["data"]] == ["error_1", "error_2"]
    first = page["data"][0]
    assert first.pop("id")
    assert first == {
        "outcome": "error",
        "region": "local",
        "request_id": "req-1",
        "trace_id": None,
        "status_code": 500,
        "error_code": "error_1",
        "sent_bytes": None,
        "sent_type": None,
        "audio_seconds": None,
        "cost_estimate": None,
        "currency": "USD",
        "started_at": "2026-01-01T00:00:00Z",
        "finished_at": "2026-01-01T00:00:00Z",
    }


@pytest.mark.parametrize("status", ["queued", "processing"])
def test_a_job_that_has_not_ended_can_be_canceled_twice(api, status):
    job = make_job(api.tenant, status=status)

    answers = [api.post(f"/v1/jobs/{job.pk}/cancel") for _ in range(2)]

    assert [answer.status_code for answer in answers] == [200, 200]
    assert [answer.json()["status"] for answer in answers] == ["canceled"] * 2
    events = job.events.filter(type="job.canceled")
    assert [event.actor for event in events] == [f"key:{api.key.public_id}"]


@pytest.mark.parametrize("status", ["completed", "failed", "expired"])
def test_a_job_that_has_ended_cannot_be_canceled(api, status):
    job = make_job(api.tenant, status=status)

    answer = api.post(f"/v1/jobs/{job.pk}/cancel")

    assert_problem(answer, 409, "job_state_conflict")
    assert Job.objects.get().status == status


@pytest.mark.parametrize("status", ["completed", "failed", "canceled", "expired"])
def test_a_job_that_has_ended_can_be_tried_again_as_a_new_one(api, status):
    job = make_job(api.tenant, status=status, metadata={"order": 7}, priority=0)

    answer = api.post(f"/v1/jobs/{job.pk}/retry")

    shown = answer.json()
    assert answer.status_code == 202
    assert answer.headers["Location"] == f"/v1/jobs/{shown['id']}"
    assert shown["id"] != str(job.pk)
    assert (shown["retry_of"], shown["status"]) == (str(job.pk), "queued")
    assert (shown["metadata"], shown["priority"]) == ({"order": 7}, "urgent")
    assert Job.objects.get(pk=job.pk).status == status


@pytest.mark.parametrize("status", ["queued", "processing"])
def test_a_job_that_runs_cannot_be_tried_again(api, status):
    job = make_job(api.tenant, status=status)

    assert_problem(api.post(f"/v1/jobs/{job.pk}/retry"), 409, "job_state_conflict")
    assert Job.objects.count() == 1


@pytest.mark.parametrize("action", ["cancel", "retry"])
def test_an_action_takes_no_fields(api, action):
    job = make_job(api.tenant, status="failed" if action == "retry" else "queued")

    answer = api.post(f"/v1/jobs/{job.pk}/{action}", {"reason": "x"})

    assert_problem(answer, 400, "field_unknown")
    assert Job.objects.get().status == job.status


ROUTES = [
    ("get", "/v1/jobs/{}"),
    ("get", "/v1/jobs/{}/attempts"),
    ("post", "/v1/jobs/{}/cancel"),
    ("post", "/v1/jobs/{}/retry"),
    ("get", "/v1/transcripts/{}"),
]


@pytest.mark.parametrize(("method", "route"), ROUTES)
def test_a_foreign_job_is_not_there(api, method, route):
    foreign = make_job(status="completed" if "retry" in route else "queued")

    theirs = getattr(api, method)(route.format(foreign.pk))
    nobodys = getattr(api, method)(route.format(uuid4()))

    theirs_problem = assert_problem(theirs, 404, "not_found")
    nobodys_problem = assert_problem(nobodys, 404, "not_found")
    assert theirs_problem["detail"] == nobodys_problem["detail"]
    assert Job.objects.get().status == foreign.status


@pytest.mark.parametrize(("method", "route"), ROUTES)
def test_an_id_that_is_none_is_not_there(api, method, route):
    answer = getattr(api, method)(route.format("42"))

    assert_problem(answer, 404, "not_found")


def ids(answer):
    return [job["id"] for job in answer.json()["data"]]


def test_pages_are_newest_first_and_complete_while_jobs_come_in(api):
    old = [str(make_job(api.tenant).pk) for _ in range(5)]
    make_job()

    first = api.get("/v1/jobs?limit=2")
    make_job(api.tenant)
    cursor = first.json()["next_cursor"]
    second = api.get(f"/v1/jobs?limit=2&cursor={cursor}")
    Job.objects.filter(pk=ids(second)[-1]).delete()
    third = api.get(f"/v1/jobs?limit=2&cursor={second.json()['next_cursor']}")

    assert ids(first) + ids(second) + ids(third) == old[::-1]
    assert [page.json()["has_more"] for page in (first, second, third)] == [
        True,
        True,
        False,
    ]
    assert third.json()["next_cursor"] is None
    assert first.headers["Link"] == f'</v1/jobs?limit=2&cursor={cursor}>; rel="next"'
    assert "Link" not in third.headers


def test_the_next_link_can_be_followed_as_it_is(api):
    jobs = [make_job(api.tenant, metadata={"a b": "c&d"}) for _ in range(3)]

    first = api.get("/v1/jobs?limit=2&metadata.a%20b=c%26d")
    link = first.headers["Link"].partition(">")[0].removeprefix("<")

    assert ids(api.get(link)) == [str(jobs[0].pk)]


def test_jobs_are_filtered(api):
    plain = make_job(api.tenant)
    failed = make_job(api.tenant, status="failed", priority=0)
    tagged = make_job(api.tenant, metadata={"order": 7, "vip": True, "name": "x"})
    long_ago = timezone.now() - timedelta(days=9)
    Job.objects.filter(pk=plain.pk).update(created_at=long_ago)
    between = (timezone.now() - timedelta(days=1)).isoformat()

    def found(query):
        return set(ids(api.get(f"/v1/jobs?{query}")))

    everything = {str(job.pk) for job in (plain, failed, tagged)}
    assert found("") == everything
    assert found("status=failed") == {str(failed.pk)}
    assert found("priority=urgent") == {str(failed.pk)}
    assert found("status=failed&priority=normal") == set()
    assert found(f"created_before={between}") == {str(plain.pk)}
    assert found(f"created_after={between}") == everything - {str(plain.pk)}
    assert found("metadata.order=7") == {str(tagged.pk)}
    assert found("metadata.order=7&metadata.vip=true&metadata.name=x") == {
        str(tagged.pk)
    }
    assert found("metadata.order=8") == set()
    assert found("metadata.nothing=7") == set()


@pytest.mark.parametrize("name", ["5", "-1", "0", "007", "9" * 30, "9" * 512, "a'b"])
def test_metadata_is_filtered_by_names_that_look_like_an_index(api, name):
    tagged = make_job(api.tenant, metadata={name: "x", "z": "y"})
    make_job(api.tenant, metadata={f"{name}0": "x"})
    make_job(api.tenant, metadata={"z": "x"})

    answer = api.get(f"/v1/jobs?metadata.{name}=x")

    assert ids(answer) == [str(tagged.pk)]
    assert ids(api.get(f"/v1/jobs?metadata.{name}=y")) == []


def test_a_page_costs_one_query_however_long_it_is(api, django_assert_num_queries):
    for _ in range(5):
        make_job(api.tenant, status="processing")
    api.get("/v1/jobs")  # the key's use is recorded once a minute

    with django_assert_num_queries(2):  # the key, the page
        assert len(ids(api.get("/v1/jobs"))) == 5


@pytest.mark.parametrize(
    ("query", "code", "parameter"),
    [
        ("limit=0", "parameter_invalid", "limit"),
        ("limit=101", "parameter_invalid", "limit"),
        ("limit=1&limit=2", "parameter_repeated", "limit"),
        ("cursor=x", "cursor_invalid", "cursor"),
        ("status=done", "parameter_invalid", "status"),
        ("offset=1", "parameter_unknown", "offset"),
        ("format=api", "parameter_unknown", "format"),
        ("metadata=1", "parameter_unknown", "metadata"),
        ("metadata.a=%00", "parameter_invalid", "metadata.a"),
    ],
)
def test_a_query_string_is_read_strictly(api, query, code, parameter):
    problem = assert_problem(api.get(f"/v1/jobs?{query}"), 400, code)

    (entry,) = problem["errors"]
    assert (entry["parameter"], entry["code"]) == (parameter, code)


def test_another_tenants_cursor_is_refused(api):
    other = Api()
    for _ in range(2):
        make_job(other.tenant)
    cursor = other.get("/v1/jobs?limit=1").json()["next_cursor"]

    assert_problem(api.get(f"/v1/jobs?cursor={cursor}"), 400, "cursor_invalid")


def test_me_says_whose_key_it_is(api):
    me = api.get("/v1/me").json()

    assert me["tenant"] == {"id": str(api.tenant.pk), "name": api.tenant.name}
    assert me["api_key"]["id"] == api.key.public_id
    assert me["api_key"]["scopes"] == api.key.scopes
    assert api.text not in str(me)
    assert set(me["api_key"]) == {
        "id",
        "name",
        "scopes",
        "allowed_ips",
        "expires_at",
        "created_at",
    }


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("post", "/v1/jobs"),
        ("post", "/v1/jobs/{}/cancel"),
        ("post", "/v1/jobs/{}/retry"),
    ],
)
def test_a_key_that_may_only_read_changes_nothing(media, method, path, db):
    api = Api(make_tenant())
    api.key, api.text = make_key(api.tenant, scopes=("jobs:read",))
    job = make_job(api.tenant)

    answer = getattr(api, method)(path.format(job.pk))

    assert_problem(answer, 403, "scope_missing")
    assert Job.objects.get().status == "queued"
    assert api.get(f"/v1/jobs/{job.pk}").status_code == 200
