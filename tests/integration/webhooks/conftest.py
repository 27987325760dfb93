from collections.abc import Iterator

import pytest

from tests.support.webhooks import World
from workers.webhooks.delivery import transport

LOOPBACK = ["127.0.0.0/8"]


@pytest.fixture(autouse=True)
def _loopback_is_allowed(settings) -> Iterator[None]:
    settings.EGRESS_ALLOW = LOOPBACK
    settings.WEBHOOK_TIMEOUT_SECONDS = 5
    yield
    transport.close()


@pytest.fixture
def world(db) -> World:
    return World()
