"""Guard: the tests run on the real servers, not on a silent stand-in."""

import os

import pytest
import redis
from django.conf import settings
from django.contrib.auth.models import Group, User
from django.db import connection

from jobs.models import Job
from tests.support.factories import make_job


@pytest.mark.django_db
def test_the_database_is_a_supported_postgresql() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SHOW server_version_num")
        (version,) = cursor.fetchone()

    assert connection.vendor == "postgresql"
    assert int(version) >= 150000


def test_redis_is_a_server_with_the_commands_we_use() -> None:
    with redis.Redis.from_url(settings.REDIS_URL) as client:
        server = client.info("server")
        echoed = client.eval("return ARGV[1]", 0, "lua")

    assert int(server["redis_version"].split(".")[0]) >= 7
    assert echoed == b"lua"


@pytest.mark.skipif(
    "PYTEST_XDIST_WORKER" not in os.environ, reason="this run has one process"
)
def test_parallel_test_processes_do_not_share_a_redis_database() -> None:
    worker = int(os.environ["PYTEST_XDIST_WORKER"].removeprefix("gw"))

    assert settings.REDIS_URL.endswith(f"/{1 + 3 * worker}")


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("number", [1, 2])
def test_committed_rows_end_with_their_test_and_roles_stay(number: int) -> None:
    assert not User.objects.exists()
    assert not Job.objects.exists()

    make_job()
    user = User.objects.create_user("ada")
    user.groups.add(Group.objects.get(name="viewer"))
