"""A real ASGI process, a real emulator behind it, and customers at its live door."""

from collections.abc import Iterator

import pytest
import redis
from django.conf import settings

from jobs.models import Job, Region
from jobs.state import JobStatus
from tests.support.asgi_process import AsgiProcess
from tests.support.emulator_process import EmulatorProcess
from tests.support.live_client import SETTINGS, Customer
from workers.embedded.processes import wait_until

_doors: list[AsgiProcess] = []


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """Stop the door with the last test of this folder: its heart beats into tables."""
    if nextitem is None or nextitem.path.parent != item.path.parent:
        while _doors:
            _doors.pop().stop()


@pytest.fixture
def live_door(
    tmp_path_factory: pytest.TempPathFactory, django_db_setup: None
) -> AsgiProcess:
    """One for all tests that follow each other."""
    if not _doors:
        _doors.append(AsgiProcess(tmp_path_factory.mktemp("live"), **SETTINGS))
        _doors[0].wait()
    return _doors[0]


@pytest.fixture
def me(
    transactional_db: None, live_door: AsgiProcess, emulator: EmulatorProcess
) -> Iterator[Customer]:
    broker = redis.Redis.from_url(settings.REDIS_URL)
    broker.flushdb()
    Region.objects.create(name="local", base_url=emulator.url)
    yield Customer(live_door, emulator, broker)
    emulator.reset()
    # What a session still writes would meet the emptying of the tables.
    running = Job.objects.filter(status=JobStatus.PROCESSING)
    wait_until(lambda: not running.exists(), seconds=3)
    broker.close()
