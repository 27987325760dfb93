import csv
import io
from datetime import UTC, datetime, timedelta

import pytest
import time_machine

from jobs.models import Batch, Job, QuotaCounter
from jobs.quotas.usage import GROUPS
from jobs.retention import erasure
from tests.support.api import Api, assert_problem
from tests.support.factories import (
    make_attempt,
    make_job,
    make_key,
    make_region,
    make_tenant,
)

NOON = datetime(2026, 11, 25, 12, tzinfo=UTC)
SUMS = (
    "jobs",
    "calls",
    "failed_calls",
    "unknown_calls",
    "audio_seconds",
    "cost_estimate",
)


def call(job: Job, at: datetime = NOON, outcome: str = "ok", **facts):
    return make_attempt(job, at=at, outcome=outcome, **facts)


def get_usage(api, query: str = ""):
    with time_machine.travel(NOON, tick=False):
        answer = api.get(f"/v1/usage{query}")
    assert answer.status_code == 200, answer.content
    return answer.json()


def sums(row) -> tuple:
    return tuple(row[name] for name in SUMS)


def test_a_month_is_summed_up_day_by_day(api):
    first, second = make_job(api.tenant), make_job(api.tenant)
    call(first, NOON - timedelta(days=1), "error")
    call(first)
    call(second, outcome="unknown")
    call(second, outcome="open")
    call(second, NOON - timedelta(days=25, seconds=1))  # 31 October

    report = get_usage(api)

    assert (report["from"], report["to"]) == ("2026-11-01", "2026-11-25")
    assert (report["object"], report["group_by"]) == ("usage", ["day"])
    assert [(row["day"], sums(row)) for row in report["data"]] == [
        ("2026-11-24", (1, 1, 1, 0, 0.0, None)),
        ("2026-11-25", (2, 3, 0, 1, 60.0, "0.004300")),
    ]
    assert sums(report["totals"]) == (2, 4, 1, 1, 60.0, "0.004300")


def test_nothing_used_is_an_empty_report(api):
    report = get_usage(api)

    assert (report["data"], sums(report["totals"])) == ([], (0, 0, 0, 0, 0.0, None))


def test_both_ends_are_counted_in_by_utc_days(api):
    job = make_job(api.tenant)
    for at in (
        "2026-11-09T23:59:59.999999",
        "2026-11-10T00:00:00",
        "2026-11-11T23:59:59.999999",
        "2026-11-12T00:00:00",
    ):
        call(job, datetime.fromisoformat(f"{at}+00:00"))

    report = get_usage(api, "?from=2026-11-10&to=2026-11-11")

    assert [(row["day"], row["calls"]) for row in report["data"]] == [
        ("2026-11-10", 1),
        ("2026-11-11", 1),
    ]


def test_usage_is_grouped_by_whatever_is_asked_in_that_order(api):
    eu = make_region("eu")
    nova = make_job(api.tenant, options={"model": "nova-2"})
    call(nova)
    call(nova, region=eu)
    call(make_job(api.tenant), NOON - timedelta(days=2), region=eu)

    report = get_usage(api, "?group_by=region,model,day")

    keys = ("region", "model", "day")
    assert [tuple(row[key] for key in keys) for row in report["data"]] == [
        ("eu", "nova-2", "2026-11-25"),
        ("eu", "nova-3", "2026-11-23"),
        ("local", "nova-2", "2026-11-25"),
    ]
    assert report["totals"]["jobs"] == 2
    assert set(report["data"][0]) == {*keys, *SUMS, "currency"}


def test_usage_is_told_apart_by_key_and_batch(api):
    batch = Batch.objects.create(tenant=api.tenant, total=1)
    other, _ = make_key(api.tenant)
    for key, of in ((other, batch), (None, None)):
        job = make_job(api.tenant)
        Job.objects.filter(pk=job.pk).update(api_key=key, batch=of)
        call(job)

    report = get_usage(api, "?group_by=key,batch")

    assert [(row["key"], row["batch"], row["calls"]) for row in report["data"]] == [
        (other.public_id, str(batch.pk), 1),
        (None, None, 1),
    ]


def test_an_erased_job_is_still_counted(api):
    job = make_job(api.tenant, status="canceled")
    call(job)
    erasure.erase_job(job=job, actor="x", now=NOON)

    report = get_usage(api, "?group_by=model")

    assert [(row["model"], sums(row)) for row in report["data"]] == [
        ("nova-3", (1, 1, 0, 0, 60.0, "0.004300"))
    ]


def test_another_tenants_calls_are_not_counted(api):
    call(make_job(make_tenant()))

    assert get_usage(api)["totals"]["calls"] == 0


def test_nonsense_in_the_ledger_is_no_error(api):
    call(make_job(api.tenant), audio_seconds=float("nan"))
    call(make_job(api.tenant), audio_seconds=float("inf"))

    assert get_usage(api)["totals"]["audio_seconds"] == 200_000_000.0


@pytest.mark.parametrize("way", ["parameter", "header"])
def test_a_report_for_spreadsheets(api, way):
    call(make_job(api.tenant), NOON - timedelta(days=1))
    call(make_job(api.tenant), outcome="error", model="=HYPERLINK(1),\n2")
    query = "group_by=day,model,key"
    with time_machine.travel(NOON, tick=False):
        if way == "parameter":
            answer = api.get(f"/v1/usage?{query}&format=csv")
        else:
            answer = api.get(f"/v1/usage?{query}", {"Accept": "text/csv"})

    assert answer.headers["Content-Type"] == "text/csv; charset=utf-8"
    assert answer.headers["Content-Disposition"] == (
        'attachment; filename="usage-2026-11-01-2026-11-25.csv"'
    )
    rows = list(csv.reader(io.StringIO(answer.content.decode(), newline="")))
    assert rows == [
        ["day", "model", "key", *SUMS, "currency"],
        ["2026-11-24", "nova-3", "", "1", "1", "0", "0", "60.000", "0.004300", "USD"],
        [
            "2026-11-25",
            "'=HYPERLINK(1),\n2",
            "",
            "1",
            "1",
            "1",
            "0",
            "0.000",
            "",
            "USD",
        ],
    ]


@pytest.mark.parametrize(
    ("query", "code", "parameter"),
    [
        ("from=2026-11-26", "invalid", "from"),
        ("from=2026-11-02&to=2026-11-01", "invalid", "from"),
        ("from=2025-11-24&to=2026-11-25", "invalid", "from"),
        ("from=20261101", "invalid", "from"),
        ("from=2026-W45-1", "invalid", "from"),
        ("from=2026-11-01T00:00:00Z", "invalid", "from"),
        ("from=%D9%A2%D9%A0%D9%A2%D9%A6-11-01", "invalid", "from"),
        ("from=", "invalid", "from"),
        ("to=2026-02-30", "invalid", "to"),
        ("to=0000-01-01", "invalid", "to"),
        ("to=today", "invalid", "to"),
        ("group_by=", "invalid", "group_by"),
        ("group_by=tenant", "invalid", "group_by"),
        ("group_by=day,day", "invalid", "group_by"),
        ("group_by=day,,model", "invalid", "group_by"),
        ("group_by=day,%20model", "invalid", "group_by"),
        ("group_by=Day", "invalid", "group_by"),
        ("group_by=day&group_by=model", "repeated", "group_by"),
        ("to=2026-11-01&to=2026-11-01", "repeated", "to"),
        ("format=xml", "invalid", "format"),
        ("limit=3", "unknown", "limit"),
    ],
)
def test_what_cannot_be_read_is_refused(api, query, code, parameter):
    with time_machine.travel(NOON, tick=False):
        answer = api.get(f"/v1/usage?{query}")

    problem = assert_problem(answer, 400, f"parameter_{code}")
    assert [each["parameter"] for each in problem["errors"]] == [parameter]


@pytest.mark.parametrize(
    "query",
    ["from=2025-11-25&to=2026-11-25", "from=0001-01-01&to=0001-01-01", "to=9999-12-31"],
)
def test_days_at_the_edges_are_taken(api, query):
    get_usage(api, f"?{query}&group_by={','.join(GROUPS)}")


def test_more_rows_than_anybody_reads_are_refused(api, monkeypatch):
    monkeypatch.setattr("jobs.quotas.usage.MAX_ROWS", 2)
    for days in range(3):
        call(make_job(api.tenant), NOON - timedelta(days=days))

    with time_machine.travel(NOON, tick=False):
        assert_problem(api.get("/v1/usage"), 400, "usage_too_large")
        assert api.get("/v1/usage?from=2026-11-24").status_code == 200


@pytest.mark.parametrize("path", ["/v1/usage", "/v1/usage/quotas"])
def test_usage_needs_its_scope(db, path):
    api = Api()
    api.key.scopes = ["jobs:read", "jobs:write"]
    api.key.save()

    assert_problem(api.get(path), 403, "scope_missing")


def test_quotas_tell_what_is_left(db):
    api = Api(make_tenant(max_open_jobs=3, audio_seconds_per_day=100))
    with time_machine.travel(NOON, tick=False):
        make_job(api.tenant, duration_seconds=12.5)
        make_job(api.tenant, duration_seconds=70, status="completed")
        QuotaCounter.objects.filter(period__startswith="day").update(used=95)

        quotas = api.get("/v1/usage/quotas").json()["data"]

    assert quotas == [
        {
            "name": "audio_seconds_per_month",
            "limit": None,
            "used": None,
            "reserved": None,
            "remaining": None,
            "resets_at": None,
        },
        {
            "name": "audio_seconds_per_day",
            "limit": 100,
            "used": 95.0,
            "reserved": 12.5,
            "remaining": 0.0,
            "resets_at": "2026-11-26T00:00:00Z",
        },
        {
            "name": "max_open_jobs",
            "limit": 3,
            "used": 0.0,
            "reserved": 1.0,
            "remaining": 2.0,
            "resets_at": None,
        },
    ]


def test_quotas_nobody_has_used_are_read_and_not_written(db):
    api = Api(make_tenant(audio_seconds_per_day=100))

    quotas = {each["name"]: each for each in api.get("/v1/usage/quotas").json()["data"]}

    assert quotas["audio_seconds_per_day"]["remaining"] == 100
    assert not QuotaCounter.objects.exists()
