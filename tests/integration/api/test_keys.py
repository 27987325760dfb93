import hashlib
import hmac
import io
import logging
from datetime import timedelta

import pytest
from django.core.management import CommandError, call_command
from django.test import Client
from django.utils import timezone

from jobs.accounts.authentication import ALL_SCOPES, _checksum, parse_public_id
from jobs.models import ApiKey, Tenant
from tests.support.api import Api, assert_problem
from tests.support.factories import make_key, make_tenant
from transcribe_platform.logs import JsonFormatter

PATHS = ["/v1/me", "/v1/jobs", "/v1/jobs/0197b2f0-0000-7000-8000-000000000000"]


def get_with(header, path="/v1/me"):
    return Client().get(path, headers={"Authorization": header} if header else {})


def other_secret(text):
    body = text[:-7] + ("a" if text[-7] != "a" else "b")
    return body + _checksum(body)


@pytest.mark.parametrize("path", [*PATHS, PATHS[2] + "/attempts"])
def test_without_a_key_there_is_a_challenge(db, path):
    answer = get_with("", path)

    assert_problem(answer, 401, "key_missing")
    assert answer.headers["WWW-Authenticate"] == "Bearer"


@pytest.mark.parametrize(
    "header",
    [
        "Bearer",
        "Bearer ",
        "Bearer x",
        "Bearer tp_live_x",
        "Basic dXNlcjpwYXNz",
        "Token {}",
        "{}",
        "Bearer {}x",
        "Bearer {} {}",
        "Bearer é{}",
    ],
)
def test_what_is_no_key_is_malformed(api, header, django_assert_num_queries):
    with django_assert_num_queries(0):
        answer = get_with(header.format(api.text, api.text))

    assert_problem(answer, 401, "key_malformed")
    assert answer.headers["WWW-Authenticate"] == "Bearer"


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_the_scheme_is_read_in_any_case(api, scheme):
    assert get_with(f"{scheme} {api.text}").status_code == 200


@pytest.mark.parametrize("name", ["api_key", "key", "token", "access_token"])
def test_a_key_in_the_query_string_is_refused_and_not_told(api, caplog, name):
    caplog.set_level(logging.DEBUG)
    path = f"/v1/me?{name}={api.text}"
    secret = api.text[17:]

    alone, beside = get_with("", path), get_with(f"Bearer {api.text}", path)

    assert_problem(alone, 401, "key_missing")
    assert_problem(beside, 400, "parameter_unknown")
    told = alone.content + beside.content + str(beside.headers).encode()
    assert secret not in told.decode()
    assert "/v1/me" in caplog.text
    assert secret not in caplog.text
    formatted = [JsonFormatter().format(record) for record in caplog.records]
    assert secret not in "".join(formatted)


def test_a_key_with_another_secret_is_invalid(api):
    assert parse_public_id(other_secret(api.text)) == api.key.public_id

    assert_problem(get_with(f"Bearer {other_secret(api.text)}"), 401, "key_invalid")


def test_unknown_revoked_and_disabled_read_the_same(db):
    unknown, text_of_unknown = make_key()
    unknown.delete()
    revoked, text_of_revoked = make_key()
    ApiKey.objects.filter(pk=revoked.pk).update(revoked_at=timezone.now())
    _, text_of_disabled = make_key(make_tenant(is_active=False))

    details = {
        assert_problem(get_with(f"Bearer {text}"), 401, "key_invalid")["detail"]
        for text in (text_of_unknown, text_of_revoked, text_of_disabled)
    }

    assert len(details) == 1


def test_that_it_expired_is_told_to_its_holder_only(db):
    _, text = make_key(expires_at=timezone.now() - timedelta(seconds=1))

    assert_problem(get_with(f"Bearer {text}"), 401, "key_expired")
    assert_problem(get_with(f"Bearer {other_secret(text)}"), 401, "key_invalid")


def test_a_key_works_until_it_expires(db):
    _, text = make_key(expires_at=timezone.now() + timedelta(minutes=1))

    assert get_with(f"Bearer {text}").status_code == 200


@pytest.mark.parametrize(
    ("allowed", "peer", "is_let_in"),
    [
        ([], "198.51.100.7", True),
        (["198.51.100.7"], "198.51.100.7", True),
        (["192.0.2.1", "198.51.100.0/24"], "198.51.100.7", True),
        (["2001:db8::/32"], "2001:db8::1", True),
        (["198.51.100.0/24"], "::ffff:198.51.100.7", True),
        (["198.51.100.8"], "198.51.100.7", False),
        (["2001:db8::/32"], "198.51.100.7", False),
        (["0.0.0.0/0"], "", False),
    ],
)
def test_a_key_comes_from_the_addresses_it_may_come_from(db, allowed, peer, is_let_in):
    _, text = make_key(allowed_ips=allowed)

    answer = Client().get(
        "/v1/me", headers={"Authorization": f"Bearer {text}"}, REMOTE_ADDR=peer
    )

    if is_let_in:
        assert answer.status_code == 200
    else:
        assert_problem(answer, 403, "address_not_allowed")
        assert "WWW-Authenticate" not in answer.headers
    assert (ApiKey.objects.get().last_used_at is not None) is is_let_in


def test_the_address_is_told_to_nobody_but_the_holder(db):
    _, text = make_key(allowed_ips=["198.51.100.7"])

    assert_problem(get_with(f"Bearer {other_secret(text)}"), 401, "key_invalid")


def test_a_header_counts_from_a_trusted_proxy_only(db, settings):
    _, text = make_key(allowed_ips=["198.51.100.7"])
    headers = {"Authorization": f"Bearer {text}", "X-Forwarded-For": "198.51.100.7"}

    assert_problem(Client().get("/v1/me", headers=headers), 403, "address_not_allowed")
    settings.TRUSTED_PROXIES = ["127.0.0.1"]
    assert Client().get("/v1/me", headers=headers).status_code == 200


def test_a_key_that_is_not_there_is_compared_as_well(api, monkeypatch):
    compared = []

    def compare(one, other):
        compared.append((len(one), len(other)))
        return original(one, other)

    original = hmac.compare_digest
    monkeypatch.setattr("jobs.accounts.authentication.hmac.compare_digest", compare)
    get_with(f"Bearer {other_secret(api.text)}")
    ApiKey.objects.all().delete()
    get_with(f"Bearer {api.text}")

    assert compared == [(32, 32), (32, 32)]


def test_a_refused_upload_is_not_read(db, media):
    class Unread(io.BytesIO):
        def read(self, *_size):
            raise AssertionError

    environ = {
        "wsgi.input": Unread(),
        "CONTENT_LENGTH": "1000000",
        "CONTENT_TYPE": "multipart/form-data; boundary=b",
    }

    answer = Client().generic("POST", "/v1/jobs", **environ)

    assert_problem(answer, 401, "key_missing")


def test_only_the_digest_of_a_key_is_stored(db):
    key, text = make_key(name="ci")

    stored = ApiKey.objects.get()
    assert bytes(stored.digest) == hashlib.sha256(text.encode()).digest()
    assert text.startswith(f"tp_live_{key.public_id}_")
    assert len(text) == 8 + 8 + 1 + 40 + 6
    assert text[17:] not in str(ApiKey.objects.values())
    assert stored.scopes == list(ALL_SCOPES)


def test_use_is_recorded_at_most_once_a_minute(api):
    api.get("/v1/me")
    first = ApiKey.objects.get().last_used_at
    api.get("/v1/me")
    assert ApiKey.objects.get().last_used_at == first

    ApiKey.objects.update(last_used_at=first - timedelta(seconds=61))
    api.get("/v1/me")
    assert ApiKey.objects.get().last_used_at > first


def run(*args):
    out = io.StringIO()
    call_command("create_api_key", *args, stdout=out)
    return out.getvalue()


def test_the_command_prints_the_key_and_nothing_else(db):
    printed = run("--tenant", "acme", "--create-tenant", "--name", "ci")

    key = ApiKey.objects.get()
    assert (key.tenant.name, key.name, key.expires_at) == ("acme", "ci", None)
    assert printed == printed.strip() + "\n"
    assert parse_public_id(printed.strip()) == key.public_id
    assert get_with(f"Bearer {printed.strip()}").json()["tenant"]["name"] == "acme"


def test_the_command_finds_a_tenant_that_is_there(db):
    tenant = make_tenant(name="acme")

    run("--tenant", "acme", "--expires-days", "30")
    run("--tenant", "acme", "--create-tenant")

    first, second = ApiKey.objects.order_by("created_at")
    assert first.tenant == second.tenant == tenant
    left = first.expires_at - timezone.now()
    assert timedelta(days=29, hours=23) < left <= timedelta(days=30)


def test_the_command_makes_a_key_with_less(db):
    run(
        *("--tenant", "acme", "--create-tenant", "--scopes", "usage:read", "jobs:read"),
        *("--allowed-ip", "192.0.2.0/24", "--allowed-ip", "10.0.0.1"),
    )

    key = ApiKey.objects.get()
    assert key.scopes == ["jobs:read", "usage:read"]
    assert key.allowed_ips == ["10.0.0.1", "192.0.2.0/24"]


def test_the_command_does_not_pass_the_limit(db, settings):
    settings.API_KEYS_PER_TENANT = 1
    run("--tenant", "acme", "--create-tenant")

    with pytest.raises(CommandError, match="which is the limit: revoke one"):
        run("--tenant", "acme")


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["--tenant", "a", "--create-tenant", "--scopes", "all"], "invalid choice"),
        (
            ["--tenant", "a", "--create-tenant", "--allowed-ip", "10.0.0.1/8"],
            "Invalid --allowed-ip",
        ),
        (["--tenant", "acme"], "Add --create-tenant"),
        (["--tenant", "acme", "--create-tenant", "--expires-days", "0"], "1 or more"),
    ],
)
def test_the_command_says_what_is_wrong_and_makes_nothing(db, args, says):
    with pytest.raises(CommandError, match=says):
        run(*args)

    assert (ApiKey.objects.count(), Tenant.objects.count()) == (0, 0)


def test_every_route_of_the_api_asks_for_a_key(db):
    schema = Client().get("/v1/openapi.json").json()
    routes = [
        (method, path.replace("{", "").replace("}", ""))
        for path, operations in schema["paths"].items()
        for method in operations
    ]

    assert len(routes) >= 8
    for method, path in routes:
        found = path.replace("job_id", "0197b2f0-0000-7000-8000-000000000000")
        answer = Client().generic(method.upper(), found)
        assert answer.status_code in {401, 404}, (method, path)
        assert answer.status_code == 401 or "_id" in path, (method, path)


def test_two_tenants_see_only_their_own(db):
    one, two = Api(), Api()
    one.post("/v1/jobs", {"audio_url": "https://audio.example.com/a.wav"})

    assert len(one.get("/v1/jobs").json()["data"]) == 1
    assert two.get("/v1/jobs").json()["data"] == []
