import pytest
from django.contrib.auth import get_user_model
from django.test import Client

from workers.webhooks.messages import secrets

PAGES = "/admin/webhooks/webhookendpoint/"


@pytest.fixture
def operator(db):
    client = Client()
    client.force_login(get_user_model().objects.create_superuser("op"))
    return client


@pytest.fixture
def endpoint(world):
    kept = secrets.encrypt_headers({"X-Key": "header-words"})
    endpoint = world.endpoint("https://hooks.example/a?sig=private", headers=kept)
    secrets.add_secret(world.tenant, endpoint, secret="", now=world.now)
    return endpoint


def test_operators_see_endpoints_and_nothing_secret_of_them(operator, endpoint):
    for path in (PAGES, f"{PAGES}{endpoint.pk}/change/"):
        page = operator.get(path)

        text = page.content.decode()
        assert page.status_code == 200
        assert "https://hooks.example/a" in text
        for private in (
            "sig=private",
            "header-words",
            endpoint.headers["X-Key"],
            "whsec_",
        ):
            assert private not in text
    assert "X-Key" in text


def test_operators_change_nothing_here(operator, endpoint):
    assert operator.get(f"{PAGES}add/").status_code == 403
    assert operator.post(f"{PAGES}{endpoint.pk}/delete/").status_code == 403
    answer = operator.post(f"{PAGES}{endpoint.pk}/change/", {"description": "x"})
    assert answer.status_code == 403
    endpoint.refresh_from_db()
    assert endpoint.description == ""
