"""Redis away: a worker with free slots outlives it (docs/adr/0005), a send fails at once;
its pulse says whether its consumer stands still.

Without `mend_reconnect` celery 5.7.0 ends here: "'NoneType' object has no attribute
'hostname'". The worker is a real process of the real app.
"""

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from signal import Signals

import pytest
from celery import Celery
from kombu.utils import functional

from jobs.scheduling import dispatch
from tests import servers
from tests.servers import Server
from tests.support import ROOT
from transcribe_platform.celery import app
from workers.embedded import processes
from workers.embedded.binaries import scratch_folder
from workers.embedded.processes import ProcessCommand
from workers.liveness import liveness_files

SLOTS, BUSY = 20, 5
NAP_SECONDS = 10.0

pytestmark = [pytest.mark.e2e, pytest.mark.slow]


class Worker:
    """One worker process and the Redis it works for."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.redis = self._start_redis()
        self.command = ProcessCommand(
            argv=(
                *(sys.executable, "-m", "celery", "-A", "transcribe_platform.celery"),
                *(
                    "worker",
                    "--include",
                    "tests.support.sleeping_tasks",
                    "--loglevel",
                    "INFO",
                ),
                *("-P", "threads", "-c", str(SLOTS), "-Q", "housekeeping"),
                *("--without-gossip", "--without-mingle"),
            ),
            log=folder / "worker.log",
            env={
                **os.environ,
                "REDIS_URL": self.redis.url,
                "PROBE_DIR": str(folder / "probes"),
            },
            cwd=ROOT,
            death_signal=Signals.SIGKILL,
        )
        self.process = processes.spawn(self.command)

    def send(self, name: str, *, seconds: float) -> None:
        """Publish a nap; only the file it makes says that it runs."""
        with app.connection_for_write(self.redis.url) as connection:
            app.send_task(
                "tests.nap",
                kwargs={"began": str(self.folder / name), "seconds": seconds},
                queue="housekeeping",
                connection=connection,
            )

    def began(self, *names: str, seconds: float = 60) -> bool:
        """Wait until all of these run; false when the worker has ended before."""

        def settled() -> bool:
            return self.process.poll() is not None or self._ran(names)

        return processes.wait_until(settled, seconds=seconds) and self._ran(names)

    def hold_up_consumer(self, *, seconds: float) -> None:
        """Have its loop stand still, while its threads go on."""
        options = app.conf.broker_transport_options
        other = Celery(broker=self.redis.url, broker_transport_options=options)
        other.control.broadcast("doze", arguments={"seconds": seconds})
        other.close()

    def ages(self) -> dict[str, float]:
        """Return how long ago each of its parts got on, as it says itself."""
        (beat,) = liveness_files.read_all(self.folder / "probes")
        return {part: beat.written_at - at for part, (at, _) in beat.parts.items()}

    def restart_redis(self) -> None:
        """End Redis and start it anew, empty, on the same port and password."""
        self.redis.stop()
        self.redis = self._start_redis(port=self.redis.port)

    def close(self) -> None:
        processes.stop(self.process, Signals.SIGKILL, grace=1)
        self.redis.stop()

    def _ran(self, names: tuple[str, ...]) -> bool:
        return all((self.folder / name).exists() for name in names)

    def _start_redis(self, port: int | None = None) -> Server:
        return servers.start_valkey(self.folder / "redis", durable=False, port=port)


@pytest.fixture
def worker() -> Iterator[Worker]:
    folder = scratch_folder("transcribe-restart-")
    started = Worker(folder)
    yield started
    started.close()
    shutil.rmtree(folder, ignore_errors=True)


def test_a_worker_with_free_slots_outlives_a_restart_of_redis(worker: Worker):
    naps = [f"nap-{number}" for number in range(BUSY)]
    for name in naps:
        worker.send(name, seconds=NAP_SECONDS)
    assert worker.began(*naps), processes.log_tail(worker.command.log)

    worker.restart_redis()
    worker.send("after", seconds=0)

    has_run = worker.began("after")
    assert worker.process.poll() is None, processes.log_tail(worker.command.log)
    assert has_run
    worker.hold_up_consumer(seconds=9)
    # By its own word of the same moment, and so whatever else this machine does.
    assert processes.wait_until(lambda: only_consumer_stands(worker.ages()), seconds=20)
    assert processes.wait_until(lambda: worker.ages()["consumer"] < 3, seconds=30)


def only_consumer_stands(ages: dict[str, float]) -> bool:
    consumer = ages.pop("consumer")
    return consumer > 7 and max(ages.values()) < consumer


def test_a_send_fails_at_once_while_redis_is_away(monkeypatch: pytest.MonkeyPatch):
    def refuse(_seconds: float) -> None:
        raise AssertionError("kombu waits before it tries again")

    monkeypatch.setattr(functional, "sleep", refuse)

    with (
        app.connection_for_write("redis://127.0.0.1:1/0") as nowhere,
        pytest.raises(dispatch.BROKER_AWAY),
    ):
        dispatch.publish("tests.nap", queue="housekeeping", connection=nowhere)
