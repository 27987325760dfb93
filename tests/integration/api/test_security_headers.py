"""What every answer carries, and that production settings pass Django's own review."""

import base64
import os

import pytest
from django.test import Client

from tests.support.factories import make_key
from tests.support.python_process import run_python

PRODUCTION = {
    "PATH": os.environ["PATH"],
    "SECRET_KEY": base64.b64encode(bytes(range(60))).decode(),
    "FIELD_ENCRYPTION_KEYS": base64.urlsafe_b64encode(bytes(32)).decode(),
    "DATABASE_URL": "postgres://nobody@127.0.0.1:1/none",
    "REDIS_URL": "redis://127.0.0.1:1/0",
    "BASE_URL": "https://api.example.com",
    "ALLOWED_HOSTS": "api.example.com",
    "PROXY_PROTOCOL_HEADER": "X-Forwarded-Proto",
}
PATHS = ["/v1/me", "/v1/jobs", "/v1/nope", "/v1/openapi.json", "/health/live"]


@pytest.mark.parametrize("path", PATHS)
def test_an_answer_lets_a_browser_do_nothing_with_it(db, path):
    _key, text = make_key()

    answer = Client().get(path, headers={"Authorization": f"Bearer {text}"})

    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["X-Frame-Options"] == "DENY"
    assert answer.headers["Referrer-Policy"] == "same-origin"
    assert answer.headers["Cross-Origin-Opener-Policy"] == "same-origin"
    assert answer.headers["Content-Security-Policy"].startswith("default-src 'none'")
    assert not answer.cookies
    assert "Access-Control-Allow-Origin" not in answer.headers


def test_the_admins_cookies_stay_with_it(db):
    answer = Client().get("/admin/login/")

    assert "default-src 'self'" in answer.headers["Content-Security-Policy"]
    cookie = answer.cookies["csrftoken"]
    assert (cookie["samesite"], cookie["httponly"]) == ("Strict", True)


def manage(*words, **environment):
    return run_python(["manage.py", *words], environment=PRODUCTION | environment)


def test_production_settings_pass_djangos_review():
    answer = manage("check", "--deploy", "--fail-level", "WARNING")

    assert answer.returncode == 0, answer.stderr
    assert "no issues" in answer.stdout


def test_the_review_would_tell_of_plain_http():
    answer = manage("check", "--deploy", "--fail-level", "WARNING", BASE_URL="http://x")

    assert answer.returncode == 1
    assert "security.W008" in answer.stderr


def test_over_plain_http_a_request_is_sent_to_tls_and_a_probe_is_not(settings, db):
    settings.SECURE_SSL_REDIRECT = True
    settings.SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    settings.SECURE_HSTS_SECONDS = 60
    client = Client()

    plain = client.get("/docs")
    behind_proxy = client.get("/v1/nope", headers={"X-Forwarded-Proto": "https"})
    probe = client.get("/health/live")

    assert (plain.status_code, plain.headers["Location"]) == (
        301,
        "https://testserver/docs",
    )
    assert behind_proxy.status_code == 404
    assert behind_proxy.headers["Strict-Transport-Security"].startswith("max-age=60")
    assert probe.status_code == 200
