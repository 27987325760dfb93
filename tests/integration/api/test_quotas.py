import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
import time_machine
from django.db import connection, connections, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from jobs import services
from jobs.accounts.tenants import change_tenant
from jobs.models import Event, IdempotencyKey, Job, QuotaCounter, Tenant
from jobs.quotas import counters as quota_counts
from jobs.quotas import quotas
from tests.support.api import Api, assert_nothing_written, assert_problem
from tests.support.factories import make_attempt, make_job, make_tenant, make_wav
from workers.embedded.processes import wait_until

BODY = {"audio_url": "https://audio.example.com/a.wav"}
NOON = datetime(2026, 11, 25, 12, tzinfo=UTC)


def limited(**limits: int) -> Api:
    return Api(make_tenant(**limits))


def counters(tenant: Tenant) -> dict[str, tuple[Decimal, Decimal]]:
    rows = QuotaCounter.objects.filter(tenant=tenant)
    return {row.period: (row.used, row.reserved) for row in rows}


def submit_job(api, headers=None):
    return api.post("/v1/jobs", BODY, headers)


def test_a_job_more_than_may_be_open_is_refused_and_leaves_nothing(db, media):
    api = limited(max_open_jobs=0)

    answer = api.upload(make_wav(1))

    problem = assert_problem(answer, 429, "quota_jobs_exceeded")
    assert problem["detail"] == (
        "Your account is limited to 0 open jobs; 0 remain, this request needs 1."
    )
    assert_nothing_written(media)
    assert not any(used or held for used, held in counters(api.tenant).values())


def test_as_many_jobs_as_may_be_open_pass(db):
    api = limited(max_open_jobs=2)

    codes = [submit_job(api).status_code for _ in range(3)]

    assert codes == [202, 202, 429]
    assert submit_job(api).headers["Retry-After"] == "5"
    assert Job.objects.count() == Event.objects.count() == 2
    assert counters(api.tenant)["open"] == (0, 2)


@pytest.mark.parametrize("end", ["completed", "failed", "canceled", "expired"])
def test_any_end_makes_room_for_another_job(db, end):
    api = limited(max_open_jobs=1)
    make_job(api.tenant, status=end)

    assert submit_job(api).status_code == 202
    assert submit_job(api).status_code == 429


def test_a_known_duration_is_reserved_and_an_unknown_one_guessed(db, settings):
    settings.DEFAULT_RESERVE_SECONDS = 60
    api = limited(audio_seconds_per_day=100)

    with time_machine.travel(NOON, tick=False):
        api.upload(make_wav(2.5))
        submit_job(api)

    day, month, opened = (
        counters(api.tenant)[name]
        for name in ("day:2026-11-25", "month:2026-11", "open")
    )
    assert day == month == (0, Decimal("62.5"))
    assert opened == (0, 2)


def test_audio_over_the_day_is_refused_until_midnight(db):
    api = limited(audio_seconds_per_day=500)

    with time_machine.travel(NOON.replace(hour=23, minute=59, second=30), tick=False):
        assert submit_job(api).status_code == 202
        refused = submit_job(api)
    with time_machine.travel(NOON.replace(day=26, hour=0), tick=False):
        passed = submit_job(api)

    problem = assert_problem(refused, 429, "quota_audio_exceeded")
    assert problem["detail"] == (
        "Your account is limited to 500 seconds of audio per day;"
        " 200 remain, this request needs 300."
    )
    assert refused.headers["Retry-After"] == "30"
    assert passed.status_code == 202
    assert set(counters(api.tenant)) == {
        "day:2026-11-25",
        "day:2026-11-26",
        "month:2026-11",
        "open",
    }


def test_audio_over_the_month_is_refused_until_the_next(db):
    api = limited(audio_seconds_per_day=400, audio_seconds_per_month=500)

    with time_machine.travel(datetime(2026, 11, 29, 12, tzinfo=UTC), tick=False):
        submit_job(api)
    with time_machine.travel(datetime(2026, 11, 30, 23, tzinfo=UTC), tick=False):
        refused = submit_job(api)
    with time_machine.travel(datetime(2026, 12, 1, tzinfo=UTC), tick=False):
        passed = submit_job(api)

    problem = assert_problem(refused, 429, "quota_audio_exceeded")
    assert "500 seconds of audio per month; 200 remain" in problem["detail"]
    assert refused.headers["Retry-After"] == "3600"
    assert passed.status_code == 202


def test_the_month_is_told_of_where_waiting_for_the_day_would_not_help(db):
    api = limited(
        max_open_jobs=1, audio_seconds_per_day=300, audio_seconds_per_month=300
    )
    with time_machine.travel(NOON, tick=False):
        submit_job(api)

        refused = submit_job(api)

    assert "per month" in assert_problem(refused, 429, "quota_audio_exceeded")["detail"]
    assert refused.headers["Retry-After"] == str(5 * 86400 + 43200)


def test_what_will_never_fit_is_not_to_be_tried_again(db):
    refused = submit_job(limited(audio_seconds_per_day=299))

    assert_problem(refused, 429, "quota_audio_exceeded")
    assert "Retry-After" not in refused.headers


def test_a_repeated_request_reserves_once_and_is_answered_when_nothing_is_left(db):
    api = limited(max_open_jobs=1)

    first, second = (submit_job(api, {"Idempotency-Key": "k"}) for _ in range(2))

    assert (first.status_code, second.json()) == (202, first.json())
    assert counters(api.tenant)["open"] == (0, 1)


def test_a_refused_request_may_be_sent_again_under_its_key(db):
    api = limited(max_open_jobs=1)
    job = make_job(api.tenant)
    refused = submit_job(api, {"Idempotency-Key": "k"})
    services.cancel_job(job=job, now=timezone.now())

    passed = submit_job(api, {"Idempotency-Key": "k"})

    assert (refused.status_code, passed.status_code) == (429, 202)
    assert IdempotencyKey.objects.count() == 1


def test_a_retry_reserves_again(db):
    api = limited(max_open_jobs=1)
    ended = make_job(api.tenant, status="failed", duration_seconds=7.0)

    first = api.post(f"/v1/jobs/{ended.pk}/retry")
    second = api.post(f"/v1/jobs/{ended.pk}/retry")

    assert (first.status_code, second.status_code) == (202, 429)
    assert Job.objects.get(retry_of=ended).reserved_seconds == 7
    assert counters(api.tenant)["open"] == (0, 1)


def test_a_batch_is_let_in_whole_or_not_at_all(db):
    api = limited(max_open_jobs=3)
    two = {"items": [BODY, BODY]}

    first, second = api.post("/v1/batches", two), api.post("/v1/batches", two)

    assert first.status_code == 202
    problem = assert_problem(second, 429, "quota_jobs_exceeded")
    assert "1 remain, this request needs 2." in problem["detail"]
    assert Job.objects.count() == 2
    assert counters(api.tenant)["open"] == (0, 2)


def test_quotas_are_each_tenants_own(db):
    full, other = limited(max_open_jobs=1), limited(max_open_jobs=1)
    submit_job(full)

    assert submit_job(other).status_code == 202
    assert submit_job(full).status_code == 429


def test_without_quotas_nothing_is_counted_and_no_statement_spent(db):
    api = Api()

    with CaptureQueriesContext(
        connection,
    ) as queries:
        job = make_job(api.tenant, status="completed")

    assert job.reserved_seconds is None
    assert not any("quotacounter" in query["sql"] for query in queries)
    assert not any("SUM(" in query["sql"] for query in queries)
    assert not QuotaCounter.objects.exists()


def test_a_quota_set_later_counts_what_is_open_and_what_was_used(db):
    tenant = make_tenant()
    api = Api(tenant)
    ended, waiting = make_job(tenant, status="completed"), make_job(tenant)
    spend(ended, seconds=40)
    make_job(make_tenant(), status="completed")

    set_quotas(tenant, max_open_jobs=2)

    assert counters(tenant)["open"] == (0, 1)
    assert counters(tenant)[this_month()] == (40, 300)
    assert [submit_job(api).status_code for _ in range(2)] == [202, 429]
    services.cancel_job(job=waiting, now=timezone.now())
    assert counters(tenant)["open"] == (0, 1)


def test_a_quota_set_by_hand_is_counted_from_the_first_submit(db):
    tenant = make_tenant()
    make_job(tenant)
    Tenant.objects.filter(pk=tenant.pk).update(max_open_jobs=2)

    codes = [submit_job(Api(tenant)).status_code for _ in range(2)]

    assert codes == [202, 429]


def test_a_quota_lifted_and_set_again_counts_what_came_between(db):
    tenant = make_tenant(max_open_jobs=1)
    make_job(tenant)
    set_quotas(tenant, max_open_jobs=None)
    assert not QuotaCounter.objects.exists()
    make_job(tenant)

    set_quotas(tenant, max_open_jobs=3)

    assert counters(tenant)["open"] == (0, 2)


def test_who_set_a_quota_is_on_record(db):
    tenant = make_tenant()

    set_quotas(tenant, audio_seconds_per_day=9)

    event = Event.objects.get()
    assert (event.type, event.actor) == ("tenant.changed", "manage.py")
    assert event.data == {"changes": {"audio_seconds_per_day": [None, 9]}}


def test_counters_that_went_astray_are_found_and_mended(db):
    tenant = make_tenant(max_open_jobs=5)
    job = make_job(tenant, status="completed")
    spend(job, seconds=12.5)  # behind the counters' back
    make_job(tenant)
    QuotaCounter.objects.filter(period="open").update(reserved=4)
    now = timezone.now()

    found = {
        count.period: count.drift for count in quota_counts.repair(tenant, now=now)
    }

    assert found["open"] == (0, -3)
    assert found[this_month()] == (Decimal("12.5"), 0)
    assert quota_counts.find_drift(tenant, now=now) == []
    assert counters(tenant)["open"] == (0, 1)


def test_old_counters_and_those_of_tenants_without_quotas_go(db):
    tenant, lifted = make_tenant(max_open_jobs=5), make_tenant(max_open_jobs=5)
    for days in (500, 60, 0):
        with time_machine.travel(NOON - timedelta(days=days), tick=False):
            make_job(tenant)
    make_job(lifted)
    Tenant.objects.filter(pk=lifted.pk).update(max_open_jobs=None)

    quota_counts.repair_counters(now=NOON)

    assert set(counters(tenant)) == {
        "open",
        "day:2026-11-25",
        "month:2026-11",
        "month:2026-09",
    }
    assert counters(lifted) == {}


def in_parallel(count, act):
    start = threading.Barrier(count)

    def run(number):
        start.wait(timeout=30)
        try:
            return act(number)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(run, range(count)))


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    "limits", [{"max_open_jobs": 7}, {"audio_seconds_per_day": 2100}]
)
@pytest.mark.parametrize("counted", [False, True])
def test_of_fifty_at_the_edge_exactly_as_many_pass_as_are_left(limits, counted):
    api = limited(**limits)
    if counted:  # else all fifty find no counter, and each would make it
        quota_counts.begin_counting(api.tenant, now=timezone.now())

    codes = in_parallel(50, lambda _: submit_job(api).status_code)

    assert sorted(codes) == [202] * 7 + [429] * 43
    assert Job.objects.count() == Event.objects.count() == 7
    assert counters(api.tenant)["open"] == (0, 7)
    assert counters(api.tenant)[this_month()] == (0, 2100)


@pytest.mark.django_db(transaction=True)
def test_submits_and_ends_of_many_tenants_at_once_add_up():
    tenants = [make_tenant(max_open_jobs=1000) for _ in range(4)]
    waiting = [make_job(tenants[number % 4]) for number in range(32)]

    def act(number):
        if number % 2:
            make_job(tenants[number % 4])
            return
        four = [job.pk for job in waiting[2 * number : 2 * number + 4]]
        rows = Job.objects.filter(pk__in=four)
        services.advance(rows, to="canceled", at=timezone.now())

    in_parallel(16, act)

    for tenant in tenants:
        assert quota_counts.find_drift(tenant, now=timezone.now()) == []
        opened = Job.objects.filter(tenant=tenant, status="queued").count()
        assert counters(tenant)["open"] == (0, opened)
    assert Job.objects.filter(status="queued").count() == 8


@pytest.mark.django_db(transaction=True)
def test_whoever_ends_jobs_of_several_tenants_waits_for_the_first_of_them():
    first, second = make_tenant(max_open_jobs=9), make_tenant(max_open_jobs=9)
    jobs = [make_job(second), make_job(first)]  # also the order of the counters
    later = QuotaCounter.objects.filter(tenant=second)

    def end_both():
        try:
            with transaction.atomic():
                quotas.settle(jobs)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(1) as pool:
        with transaction.atomic():
            locked = QuotaCounter.objects.select_for_update().filter(tenant=first)
            assert len(locked) == 3
            ended = pool.submit(end_both)
            assert wait_until(is_somebody_waiting, seconds=30)
            # It holds nothing that we could come to want.
            assert len(later.select_for_update(nowait=True)) == 3
        ended.result(timeout=30)

    assert counters(first)["open"] == counters(second)["open"] == (0, 0)


def is_somebody_waiting() -> bool:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity"
            " WHERE datname = current_database() AND wait_event_type = 'Lock'"
        )
        return cursor.fetchone()[0] > 0


def set_quotas(tenant: Tenant, **limits: int | None) -> None:
    now = timezone.now()
    change_tenant(tenant=tenant, changes=limits, actor="manage.py", now=now)
    tenant.refresh_from_db()


def this_month() -> str:
    return f"month:{timezone.now():%Y-%m}"


def spend(job: Job, *, seconds: float) -> None:
    make_attempt(job, audio_seconds=seconds, at=job.created_at)
