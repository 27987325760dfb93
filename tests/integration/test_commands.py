import json
from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from jobs.models import ApiKey, Event, QuotaCounter, Region, Tenant
from tests.support.factories import make_job

pytestmark = pytest.mark.django_db
URL = "http://127.0.0.1:1"


def run(*words: str) -> str:
    out = StringIO()
    call_command(*words, stdout=out)
    return out.getvalue()


def test_a_region_is_added_steered_and_listed():
    run("regions", "add", "eu", "--base-url", URL, "--pool", "diarize=25")

    shown = run("regions", "drain", "eu")

    assert "drained" in shown
    region = Region.objects.get()
    assert (region.pools, region.is_drained) == ({"diarize": 25}, True)
    assert "open" in run("regions", "undrain", "eu")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("drain", "mars"), "There is no region 'mars'."),
        (("drain",), "Name a region"),
        (("add", "eu"), "A new region needs --base-url."),
    ],
)
def test_a_region_that_cannot_be_steered_is_said(words, said):
    with pytest.raises(CommandError, match=said.replace("?", r"\?")):
        run("regions", *words)


def test_a_tenant_is_paused_and_given_its_share():
    Tenant.objects.create(name="acme")

    assert "paused" in run("tenants", "pause", "acme")
    run("tenants", "resume", "acme")
    run("tenants", "set", "acme", "--weight", "3", "--max-in-flight", "7")

    tenant = Tenant.objects.get()
    assert (tenant.is_paused, tenant.weight, tenant.max_in_flight) == (False, 3, 7)
    assert "weight 3" in run("tenants")


def test_a_tenant_that_is_not_there_is_said():
    with pytest.raises(CommandError, match="There is no tenant 'nobody'"):
        run("tenants", "pause", "nobody")


def test_bootstrap_with_its_own_key_makes_no_second_one(settings, monkeypatch):
    settings.DEEPGRAM_BASE_URL = URL
    first = json.loads(run("bootstrap", "--migrate", "--json"))
    monkeypatch.setenv("BOOTSTRAP_API_KEY", first["api_key"])

    second = json.loads(run("bootstrap", "--json"))

    assert second == first
    assert ApiKey.objects.count() == 1


def test_bootstrap_without_its_key_makes_another(settings, monkeypatch):
    settings.DEEPGRAM_BASE_URL = URL
    monkeypatch.delenv("BOOTSTRAP_API_KEY", raising=False)
    first = json.loads(run("bootstrap", "--migrate", "--json"))

    second = json.loads(run("bootstrap", "--json"))

    assert second["api_key"] != first["api_key"]
    assert second["webhook_secret"] == first["webhook_secret"]


def test_a_tenants_quotas_are_set_and_lifted():
    Tenant.objects.create(name="acme")

    run("tenants", "set", "acme", "--max-open-jobs", "3", "--weight", "2")
    run("tenants", "set", "acme", "--audio-seconds-per-day", "60")
    run("tenants", "set", "acme", "--max-open-jobs", "none")

    tenant = Tenant.objects.get()
    assert (tenant.max_open_jobs, tenant.audio_seconds_per_day) == (None, 60)
    assert (tenant.audio_seconds_per_month, tenant.weight) == (None, 2)
    assert Event.objects.filter(type="tenant.changed").count() == 3


@pytest.mark.parametrize("limit", ["-1", "1.5", "None", "", str(2**31)])
def test_a_quota_that_is_no_number_is_refused(limit):
    Tenant.objects.create(name="acme")

    with pytest.raises(CommandError, match="is not a whole number or 'none'"):
        run("tenants", "set", "acme", f"--max-open-jobs={limit}")

    assert Tenant.objects.get().max_open_jobs is None


@pytest.mark.parametrize("option", ["--repair", "--mend"])
def test_counters_that_differ_are_said_and_repaired_where_asked_to(option):
    tenant = Tenant.objects.create(name="acme", max_open_jobs=9)
    make_job(tenant)
    QuotaCounter.objects.filter(period="open").update(reserved=3)

    with pytest.raises(CommandError, match="1 counters differ"):
        run("check_quotas")
    repaired = run("check_quotas", option)

    assert repaired == "acme open: used +0.000, reserved -2.000\n"
    assert QuotaCounter.objects.get(period="open").reserved == 1
    assert run("check_quotas") == ""
