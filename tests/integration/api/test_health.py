import pytest
from django.db import OperationalError, connection
from django.db.migrations.recorder import MigrationRecorder
from django.test import Client

from transcribe_platform import health


@pytest.fixture(autouse=True)
def fresh():
    health.check_migrated.cache_clear()
    health._redis.cache_clear()
    yield
    health.check_migrated.cache_clear()
    health._redis.cache_clear()


def test_a_live_process_asks_nobody(django_assert_num_queries, db):
    with django_assert_num_queries(0):
        answer = Client().get("/health/live")

    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})


def test_ready_means_a_migrated_database(db):
    answer = Client().get("/health/ready")

    assert answer.status_code == 200
    checks = {"database": "ok", "redis": "ok"}
    assert answer.json() == {"status": "ok", "checks": checks}


def test_a_database_that_is_behind_is_not_ready_and_is_looked_at_again(db):
    applied = MigrationRecorder.Migration.objects.filter(app="jobs").order_by("-id")
    last = applied[0]
    last.delete()

    answer = Client().get("/health/ready")
    assert answer.status_code == 503
    assert answer.json()["checks"]["database"] == "not_migrated"

    MigrationRecorder(connection).record_applied(last.app, last.name)
    assert Client().get("/health/ready").status_code == 200


def test_a_database_that_is_away_is_not_ready(db, monkeypatch):
    def away(*_args):
        raise OperationalError("secret host")

    with monkeypatch.context() as patch:
        patch.setattr(connection, "cursor", away)
        answer = Client().get("/health/ready")

    assert answer.status_code == 503
    checks = {"database": "away", "redis": "ok"}
    assert answer.json() == {"status": "unready", "checks": checks}


def test_redis_away_is_said_and_is_not_fatal(db, settings):
    settings.REDIS_URL = "redis://127.0.0.1:1/0"

    answer = Client().get("/health/ready")

    assert answer.status_code == 200
    assert answer.json()["checks"] == {"database": "ok", "redis": "away"}


@pytest.mark.parametrize("path", ["/health/live", "/health/ready"])
def test_health_is_only_looked_at(db, path):
    assert Client().post(path).status_code == 405
