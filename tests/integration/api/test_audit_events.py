"""Who did what, as the tenant's administrators and the operator can read it."""

from datetime import timedelta
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.utils import timezone

from jobs import services
from jobs.accounts import audit
from jobs.models import Event, Region
from tests.support.api import Api, assert_problem, send
from tests.support.factories import make_job, make_key, make_region, make_tenant

AUDIT = "/v1/audit-events"
URL = "http://127.0.0.1:1"


def run(*words):
    call_command(*words, stdout=StringIO())


def audited():
    return [
        (event.type, event.actor, event.tenant and event.tenant.name, event.data)
        for event in Event.objects.order_by("pk")
    ]


def types(answer):
    return [event["type"] for event in answer.json()["data"]]


def test_what_keys_and_operators_did_is_listed_newest_first(api):
    other = Api()
    made = api.post("/v1/api-keys", {"name": "ci", "scopes": ["jobs:read"]}).json()
    job = make_job(api.tenant)
    api.post(f"/v1/jobs/{job.pk}/cancel")
    run("tenants", "set", api.tenant.name, "--weight", "3")
    for tenant in (api.tenant, other.tenant):
        services.pause_tenant(tenant=tenant, now=timezone.now(), actor="admin:ada")
    make_job(api.tenant, status="completed")
    run("regions", "add", "eu", "--base-url", URL)

    answer = api.get(AUDIT)

    actor = f"key:{api.key.public_id}"
    shown = answer.json()["data"]
    assert [(e["type"], e["actor"], e["job_id"]) for e in shown] == [
        ("tenant.paused", "admin:ada", None),
        ("tenant.changed", "manage.py", None),
        ("job.canceled", actor, str(job.pk)),
        ("api_key.created", actor, None),
    ]
    assert shown[1]["data"] == {"changes": {"weight": [1, 3]}}
    assert shown[3]["data"]["key"] == made["id"]
    assert made["key"] not in answer.content.decode()
    assert types(other.get(AUDIT)) == ["tenant.paused"]


def test_it_is_filtered_by_type_and_time_and_paged(api):
    now = timezone.now()
    for day in range(4):
        audit.record(
            type=f"tenant.{'paused' if day % 2 else 'resumed'}",
            actor="admin:ada",
            at=now + timedelta(days=day),
            tenant=api.tenant,
        )
    after = (now + timedelta(days=1)).isoformat().replace("+", "%2B")
    before = (now + timedelta(days=3)).isoformat().replace("+", "%2B")

    assert types(api.get(f"{AUDIT}?type=tenant.paused")) == ["tenant.paused"] * 2
    between = api.get(f"{AUDIT}?created_after={after}&created_before={before}")
    assert types(between) == ["tenant.resumed", "tenant.paused"]
    assert types(api.get(f"{AUDIT}?type=api_key.revoked")) == []
    first = api.get(f"{AUDIT}?limit=3").json()
    second = api.get(f"{AUDIT}?limit=3&cursor={first['next_cursor']}").json()
    assert [len(page["data"]) for page in (first, second)] == [3, 1]


@pytest.mark.parametrize("kind", ["", "paused", "tenant.", "a.b.c", "A.b", "a.%00"])
def test_a_type_that_is_none_is_refused(api, kind):
    assert_problem(api.get(f"{AUDIT}?type={kind}"), 400, "parameter_invalid")


def test_only_those_who_look_after_keys_may_read_it(db):
    _, text = make_key(scopes=("jobs:read", "jobs:write", "usage:read"))

    assert_problem(send(Api().client, "GET", AUDIT, key=text), 403, "scope_missing")


def test_the_list_is_read_off_its_index(api):
    other = make_tenant()
    for _ in range(100):  # of an empty table every index is as good
        audit.record(type="tenant.paused", actor="x", at=timezone.now(), tenant=other)
    rows = audit.find_events(tenant=api.tenant, filters=audit.EventFilter())
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE jobs_event")
        cursor.execute("SET LOCAL enable_seqscan = off")
        cursor.execute("SET LOCAL enable_sort = off")

    assert "event_audit" in rows.order_by("-pk")[:21].explain()


def test_the_operators_hand_on_tenants_is_written_down(db):
    make_region("eu")
    run("create_api_key", "--tenant", "acme", "--create-tenant", "--name", "ci")
    run(
        "create_api_key", "--tenant", "acme", "--create-tenant", "--scopes", "jobs:read"
    )
    run("tenants", "pause", "acme")
    run("tenants", "resume", "acme")
    share = ("--weight", "3", "--max-in-flight", "7", "--allowed-region", "eu")
    for _ in range(2):
        run("tenants", "set", "acme", *share)

    kinds = [(kind, actor, name) for kind, actor, name, _ in audited()]
    assert kinds == [
        (kind, "manage.py", "acme")
        for kind in (
            "tenant.created",
            "api_key.created",
            "api_key.created",
            "tenant.paused",
            "tenant.resumed",
            "tenant.changed",
        )
    ]
    assert audited()[-1][3]["changes"] == {
        "weight": [1, 3],
        "max_in_flight": [None, 7],
        "allowed_regions": [[], ["eu"]],
    }


def test_a_tenant_is_not_bound_to_a_region_that_is_not_there(db):
    make_tenant(name="acme")

    with pytest.raises(CommandError, match="There is no region 'mars'"):
        run("tenants", "set", "acme", "--allowed-region", "mars", "--weight", "3")

    assert audited() == []


def test_the_operators_hand_on_regions_is_written_down(db):
    run("regions", "add", "eu", "--base-url", URL, "--weight", "2")
    for _ in range(2):
        run("regions", "add", "eu", "--weight", "5")
    run("regions", "drain", "eu")

    assert audited() == [
        (
            "region.added",
            "manage.py",
            None,
            {"region": "eu", "changes": {"base_url": ["", URL], "weight": [1, 2]}},
        ),
        (
            "region.changed",
            "manage.py",
            None,
            {"region": "eu", "changes": {"weight": [2, 5]}},
        ),
        ("region.drain", "manage.py", None, {"region": "eu"}),
    ]


def test_a_region_that_is_not_there_is_not_steered(db):
    with pytest.raises(CommandError):
        run("regions", "drain", "mars")

    assert (audited(), Region.objects.count()) == ([], 0)
