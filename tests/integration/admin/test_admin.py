"""Admin pages: staff only, through the services, audited, without secrets."""

import json
import re
from datetime import timedelta

import pytest
from django.contrib import admin
from django.contrib.auth import forms
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.utils import timezone

from jobs.accounts.authentication import parse_public_id, verify_key
from jobs.models import ApiKey, Event, Job, Region, Tenant
from jobs.routing import regions
from tests.support.factories import make_job, make_key, make_region, make_tenant

PAGES = ["tenant", "apikey", "region", "job", "batch", "attempt", "event"]
TEXT = re.compile(r"<code>(tp_live_\w+)</code>")
JSON = {"default_options": "{}", "allowed_regions": "[]"}


@pytest.fixture
def ada(db):
    user = User.objects.create_superuser("ada")  # hashing a password takes a second
    client = Client()
    client.force_login(user)
    return client


def audited():
    return [
        (event.type, event.actor, event.data)
        for event in Event.objects.filter(actor__startswith="admin:").order_by("pk")
    ]


def act(client, page, action, *rows, **given):
    """Choose an action and confirm it."""
    chosen = {"action": action, "_selected_action": [str(row.pk) for row in rows]}
    chosen |= {"confirmed": "1", **given}
    return client.post(f"/admin/jobs/{page}/", chosen, follow=True)


def form_of(answer):
    """Return what the page's form holds, as a browser would send it."""
    form = answer.context["adminform"].form
    values = {name: form[name].value() for name in form.fields}
    return {name: value for name, value in values.items() if value is not None}


@pytest.mark.parametrize("page", PAGES)
def test_only_staff_come_in(db, page):
    nobody, customer = Client(), Client()
    customer.force_login(User.objects.create_user("eve"))
    _, text = make_key()
    key = {"Authorization": f"Bearer {text}"}

    for answer in (
        nobody.get(f"/admin/jobs/{page}/"),
        customer.get(f"/admin/jobs/{page}/"),
        nobody.get(f"/admin/jobs/{page}/", headers=key),
    ):
        assert answer.status_code == 302
        assert answer.headers["Location"].startswith("/admin/login/")


def test_passwords_are_not_guessed_by_the_thousand(db, monkeypatch):
    tried = []
    # Hashing a password takes a second.
    monkeypatch.setattr(forms, "authenticate", lambda _request, **_: tried.append(1))
    guess = {"username": "ada", "password": "guess"}
    here, elsewhere = "198.51.100.77", "198.51.100.78"

    def log_in(address):
        return Client(REMOTE_ADDR=address).post("/admin/login/", guess)

    answers = [log_in(here) for _ in range(11)]

    assert [each.status_code for each in answers] == [200] * 10 + [429]
    assert json.loads(answers[-1].content)["code"] == "rate_limited"
    assert 0 < int(answers[-1].headers["Retry-After"]) <= 60
    assert log_in(elsewhere).status_code == 200
    assert len(tried) == 11
    assert Client(REMOTE_ADDR=here).get("/admin/login/").status_code == 200


def test_who_may_only_look_does_nothing(db):
    user = User.objects.create_user("eve", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__startswith="view_"))
    client = Client()
    client.force_login(user)
    tenant, job = make_tenant(), make_job()
    key, _ = make_key(tenant)
    before = Event.objects.count()

    for page, action, row in (
        ("tenant", "pause", tenant),
        ("apikey", "revoke", key),
        ("apikey", "rotate", key),
        ("job", "cancel", job),
        ("region", "drain", make_region()),
    ):
        assert client.get(f"/admin/jobs/{page}/").status_code == 200
        act(client, page, action, row)
    changed = client.post(f"/admin/jobs/tenant/{tenant.pk}/change/", {"weight": 9})

    assert changed.status_code == 403
    assert client.get("/admin/jobs/apikey/add/").status_code == 403
    assert Event.objects.count() == before
    assert Job.objects.get().status == "queued"


@pytest.mark.parametrize("page", PAGES)
def test_every_list_and_page_opens_and_nothing_can_be_deleted(ada, page):
    job = make_job(status="completed", metadata={"a": 1})
    make_key(job.tenant)
    model = next(m for m in admin.site._registry if m._meta.model_name == page)

    assert ada.get(f"/admin/jobs/{page}/").status_code == 200
    for row in model.objects.all():
        assert ada.get(f"/admin/jobs/{page}/{row.pk}/change/").status_code == 200
        assert ada.get(f"/admin/jobs/{page}/{row.pk}/delete/").status_code == 403


def test_a_tenant_is_made_and_changed(ada):
    new = form_of(ada.get("/admin/jobs/tenant/add/")) | JSON
    made = ada.post("/admin/jobs/tenant/add/", new | {"name": "acme"})
    assert made.status_code == 302
    tenant = Tenant.objects.get()
    page = f"/admin/jobs/tenant/{tenant.pk}/change/"

    same = form_of(ada.get(page))
    ada.post(page, same)
    changed = ada.post(page, same | {"weight": 3, "max_in_flight": 7})

    assert changed.status_code == 302
    tenant.refresh_from_db()
    assert (tenant.weight, tenant.max_in_flight) == (3, 7)
    assert audited() == [
        ("tenant.created", "admin:ada", {"name": "acme"}),
        (
            "tenant.changed",
            "admin:ada",
            {"changes": {"weight": [1, 3], "max_in_flight": [None, 7]}},
        ),
    ]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("weight", 0),
        ("allowed_regions", '["mars"]'),
        ("allowed_regions", '{"a": 1}'),
        ("default_options", '{"no_such": 1}'),
        ("default_options", "[1]"),
    ],
)
def test_what_no_tenant_can_have_is_said_beside_its_field(ada, field, value):
    tenant = make_tenant()
    page = f"/admin/jobs/tenant/{tenant.pk}/change/"

    answer = ada.post(page, form_of(ada.get(page)) | {field: value})

    assert list(answer.context["adminform"].form.errors) == [field]
    assert audited() == []


def test_tenants_are_paused_and_resumed(ada):
    tenants = [make_tenant() for _ in range(2)]

    act(ada, "tenant", "pause", *tenants)
    assert set(Tenant.objects.values_list("is_paused", flat=True)) == {True}
    act(ada, "tenant", "resume", tenants[0])

    assert [kind for kind, _, _ in audited()] == ["tenant.paused"] * 2 + [
        "tenant.resumed"
    ]


def issue(ada, tenant, **more):
    asked = {
        "tenant": str(tenant.pk),
        "name": "ci",
        "scopes": ["jobs:read"],
        "allowed_ips": "[]",
    }
    return ada.post("/admin/jobs/apikey/add/", asked | more)


def test_the_text_of_a_new_key_is_shown_once(ada):
    tenant = make_tenant()

    answer = issue(ada, tenant, allowed_ips='["192.0.2.0/24"]')

    (text,) = TEXT.findall(answer.content.decode())
    key = ApiKey.objects.get()
    assert answer.headers["Cache-Control"].startswith("no-store")
    assert parse_public_id(text) == key.public_id
    assert (key.scopes, key.allowed_ips) == (["jobs:read"], ["192.0.2.0/24"])
    page = ada.get(f"/admin/jobs/apikey/{key.pk}/change/").content.decode()
    assert key.public_id in page
    assert text[17:] not in page
    assert bytes(key.digest).hex() not in page
    assert "digest" not in page
    assert text[17:] not in str(ada.cookies) + str(list(Event.objects.values()))
    ((kind, actor, data),) = audited()
    assert (kind, actor, data["key"]) == ("api_key.created", "admin:ada", key.public_id)


def test_a_key_past_the_limit_is_refused_on_the_page(ada, settings):
    settings.API_KEYS_PER_TENANT = 1
    key, _ = make_key()

    answer = issue(ada, key.tenant)

    assert answer.status_code == 302
    assert (
        "which is the limit: revoke one"
        in ada.get(answer.headers["Location"]).content.decode()
    )
    assert ApiKey.objects.count() == 1


def test_a_key_with_bad_addresses_is_refused(ada):
    answer = issue(ada, make_tenant(), allowed_ips='["10.0.0.1/8"]')

    assert list(answer.context["adminform"].form.errors) == ["allowed_ips"]
    assert ApiKey.objects.count() == 0


def test_a_key_is_changed_but_not_made_stronger(ada):
    key, _ = make_key(name="old", scopes=("jobs:read",))
    page = f"/admin/jobs/apikey/{key.pk}/change/"
    new = {"name": "new", "allowed_ips": "[]", "scopes": ["keys:admin"]}

    assert ada.post(page, new).status_code == 302

    key.refresh_from_db()
    assert (key.name, key.scopes) == ("new", ["jobs:read"])
    assert audited() == [
        (
            "api_key.changed",
            "admin:ada",
            {"key": key.public_id, "changes": {"name": ["old", "new"]}},
        )
    ]


def test_a_key_lives_no_longer_by_being_changed(ada):
    soon = timezone.now() + timedelta(hours=1)
    key, _ = make_key(name="old", expires_at=soon)
    page = f"/admin/jobs/apikey/{key.pk}/change/"

    for later in (("", ""), ("2040-01-01", "00:00:00")):
        expiry = dict(zip(("expires_at_0", "expires_at_1"), later, strict=True))
        answer = ada.post(page, {"name": "new", "allowed_ips": "[]", **expiry})
        said = ada.get(answer.headers["Location"]).content.decode()
        assert "can only be moved earlier" in said

    key.refresh_from_db()
    assert (key.name, key.expires_at) == ("old", soon)


def test_a_key_is_rotated_and_revoked(ada):
    key, _ = make_key()

    for action in ("revoke", "rotate"):
        chosen = {"action": action, "_selected_action": [str(key.pk)]}
        asked = ada.post("/admin/jobs/apikey/", chosen)
        assert asked.templates[0].name == "admin/jobs/confirm.html"
    assert audited() == []
    rotated = act(ada, "apikey", "rotate", key)
    (new,) = TEXT.findall(rotated.content.decode())
    again = act(ada, "apikey", "rotate", key)
    act(ada, "apikey", "revoke", key)

    assert rotated.headers["Cache-Control"].startswith("no-store")
    assert verify_key(new, now=timezone.now(), address=None).tenant == key.tenant
    key.refresh_from_db()
    assert key.expires_at - timezone.now() < timedelta(days=1)
    assert key.revoked_at is not None
    assert "was rotated" in again.content.decode()
    assert [kind for kind, _, _ in audited()] == ["api_key.rotated", "api_key.revoked"]


@pytest.mark.parametrize("action", regions.ACTIONS)
def test_a_region_is_steered(ada, action):
    region = make_region()

    act(ada, "region", action, region)

    region.refresh_from_db()
    for name, value in regions.ACTIONS[action].items():
        assert getattr(region, name) == value
    assert audited() == [(f"region.{action}", "admin:ada", {"region": "local"})]


def test_a_region_is_made_and_changed(ada):
    new = form_of(ada.get("/admin/jobs/region/add/"))
    new |= {"name": "eu", "base_url": "https://api.example.com", "pools": "{}"}
    assert ada.post("/admin/jobs/region/add/", new).status_code == 302
    page = "/admin/jobs/region/eu/change/"

    same = form_of(ada.get(page))
    ada.post(page, same | {"pools": json.dumps({"diarize": 25}), "name": "other"})

    region = Region.objects.get()
    assert (region.name, region.pools) == ("eu", {"diarize": 25})
    assert [(kind, data["region"]) for kind, _, data in audited()] == [
        ("region.added", "eu"),
        ("region.changed", "eu"),
    ]
    assert audited()[1][2]["changes"] == {"pools": [{}, {"diarize": 25}]}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("key_setting", "SECRET_KEY"),
        ("pools", '{"diarize": 0}'),
        ("pools", "[1]"),
        ("weight", 0),
        ("base_url", "nowhere"),
    ],
)
def test_what_no_region_can_have_is_said_beside_its_field(ada, field, value):
    make_region()
    page = "/admin/jobs/region/local/change/"

    answer = ada.post(page, form_of(ada.get(page)) | {field: value})

    assert list(answer.context["adminform"].form.errors) == [field]
    assert audited() == []


def test_jobs_are_canceled_and_retried(ada):
    waiting, done = make_job(), make_job(status="failed")

    act(ada, "job", "cancel", waiting)
    refused = act(ada, "job", "retry", make_job(), done)

    waiting.refresh_from_db()
    again = Job.objects.get(retry_of=done)
    assert (waiting.status, again.status) == ("canceled", "queued")
    assert "it has not ended yet" in refused.content.decode()
    canceled, retried = audited()
    assert (canceled[0], retried[0]) == ("job.canceled", "job.retried")
    assert retried[2] == {"retry_of": str(done.pk)}


def test_a_job_shows_no_query_string_and_leads_to_its_rows(ada):
    job = make_job(
        audio_url="https://audio.example.com/a.wav?signature=SECRET",
        callback_url="https://hooks.example.com/?token=SECRET",
    )

    page = ada.get(f"/admin/jobs/job/{job.pk}/change/").content.decode()

    assert "https://audio.example.com/a.wav" in page
    assert "SECRET" not in page
    for kind in ("attempt", "event"):
        link = f"/admin/jobs/{kind}/?job__id__exact={job.pk}"
        assert link in page
        assert ada.get(link).status_code == 200


def test_what_the_platform_wrote_cannot_be_edited(ada):
    job = make_job(status="completed")
    event = Event.objects.first()

    for path in (f"job/{job.pk}", f"event/{event.pk}"):
        answer = ada.post(f"/admin/jobs/{path}/change/", {"status": "queued"})
        assert answer.status_code == 403
    for page in ("job", "attempt", "event", "batch"):
        assert ada.get(f"/admin/jobs/{page}/add/").status_code == 403
