"""Where the admin leads to: Flower, and what is said of it."""

import pytest
from django.contrib.auth.models import User
from django.test import Client


@pytest.fixture
def ada(db):
    client = Client()
    client.force_login(User.objects.create_superuser("ada"))
    return client


def test_flower_is_linked_with_what_it_does_not_know(ada, settings):
    settings.FLOWER_URL = "http://flower.example"
    page = ada.get("/admin/").content.decode()

    assert page.count('href="http://flower.example"') == 2
    assert "the backlog, which is in the database" in page


def test_without_flower_nothing_is_said_of_it(ada, settings):
    settings.FLOWER_URL = ""

    assert "Flower" not in ada.get("/admin/").content.decode()


def test_who_is_not_signed_in_is_not_told_where_it_is(db, settings):
    settings.FLOWER_URL = "http://flower.example"

    assert "flower.example" not in Client().get("/admin/login/").content.decode()
