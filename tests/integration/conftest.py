"""Fixtures that several folders share; the classes are in `tests.support`."""

import shutil
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import redis
from django.conf import settings as django_settings

from jobs.audio import probe
from tests.servers import Server, start_valkey
from tests.support.api import Api
from tests.support.audio_site import Site, serving_audio
from tests.support.emulator_process import SIDE_KEY, EmulatorProcess
from tests.support.engine import Engine, wait_for_server_age
from tests.support.factories import make_unique_wav
from tests.support.waiting import eventually
from tests.support.webhook_receiver import Receiver, Reply
from workers.embedded.binaries import scratch_folder


@pytest.fixture(scope="session", autouse=True)
def each_file_is_probed_once() -> Iterator[None]:
    """Remember what the probe's child says of a file: most tests upload the same one."""
    run_child, known = probe._run_child, dict[tuple[str, ...], dict[str, Any]]()

    def remember(path: Path, *flags: str) -> dict[str, Any]:
        key = (sha256(path.read_bytes()).hexdigest(), *flags)
        if key not in known:
            known[key] = run_child(path, *flags)
        return dict(known[key])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(probe, "_run_child", remember)
        yield


@pytest.fixture
def media(tmp_path: Path, settings: Any) -> Path:
    """Give the test a storage of its own."""
    settings.MEDIA_ROOT = tmp_path / "media"
    settings.INCOMING_ROOT = settings.MEDIA_ROOT / "incoming"
    return settings.MEDIA_ROOT


@pytest.fixture
def api(db: None) -> Api:
    return Api()


@pytest.fixture
def broker() -> Iterator[redis.Redis]:
    client = redis.Redis.from_url(django_settings.REDIS_URL)
    client.flushdb()
    yield client
    client.flushdb()
    client.close()


@pytest.fixture
def own_redis() -> Iterator[Callable[..., Server]]:
    """Return a function that starts a Redis of this test alone, which it may stop.

    The Redis of the run serves all xdist workers: no test may reconfigure it.
    """
    folder, started = scratch_folder("transcribe-redis-"), list[Server]()

    def start(port: int | None = None) -> Server:
        started.append(start_valkey(folder / "redis", durable=False, port=port))
        return started[-1]

    yield start
    for server in started:
        server.stop()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def engine(db: None, broker: redis.Redis, settings: Any) -> Engine:
    settings.LEASE_SECONDS = 2
    wait_for_server_age(seconds=2)
    return Engine(broker)


@pytest.fixture
def listen() -> Iterator[Callable[..., Receiver]]:
    """Start receivers that end with the test."""
    receivers: list[Receiver] = []

    def start(*replies: Reply, **options: Any) -> Receiver:
        receivers.append(Receiver(*replies, **options))
        return receivers[-1]

    yield start
    for receiver in receivers:
        receiver.close()


@pytest.fixture(scope="session")
def launch(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Callable[..., EmulatorProcess]]:
    """Return a function that starts an emulator and returns once it is ready."""
    started: list[EmulatorProcess] = []

    def start(*arguments: str) -> EmulatorProcess:
        folder = tmp_path_factory.mktemp("emulator")
        started.append(EmulatorProcess.start(folder, *arguments))
        return started[-1]

    yield start
    for process in started:
        process.stop()


@pytest.fixture(scope="session")
def session_emulator(launch: Callable[..., EmulatorProcess]) -> EmulatorProcess:
    return launch(
        *("--callback-interval", "0.05", "--callback-retries", "2"),
        *("--projects", f"{SIDE_KEY}=side"),
    )


@pytest.fixture
def emulator(session_emulator: EmulatorProcess) -> EmulatorProcess:
    """The one emulator of the session, as if it had just started."""
    # Some test may have left without its answer.
    eventually(lambda: session_emulator.stats()["in_flight"] == 0)
    session_emulator.reset()
    return session_emulator


@pytest.fixture
def site() -> Iterator[Site]:
    with serving_audio(make_unique_wav(2.0)) as serving:
        yield serving
