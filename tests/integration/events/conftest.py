from collections.abc import Iterator

import pytest

from tests.support.asgi_process import AsgiProcess
from tests.support.event_client import EventClient


@pytest.fixture(scope="session")
def web_process(
    tmp_path_factory: pytest.TempPathFactory, django_db_setup: None
) -> Iterator[AsgiProcess]:
    started = AsgiProcess(
        tmp_path_factory.mktemp("events"),
        EVENT_STREAM_HEARTBEAT_SECONDS="0.5",
        EVENT_STREAMS_MAX="6",
        DB_POOL_SIZE="2",  # a stream holds none
        EVENT_STREAMS_MAX_PER_TENANT="4",
        EVENT_STREAM_SECONDS="20",
    )
    try:
        yield started.wait()
    finally:
        started.stop()


@pytest.fixture
def me(transactional_db: None, web_process: AsgiProcess) -> Iterator[EventClient]:
    follower = EventClient(web_process)
    yield follower
    for stream in follower.opened:
        stream.close()
