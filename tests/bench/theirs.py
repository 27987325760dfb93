"""The peer's processes: web, and two workers of fifty threads for both of its tasks."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from tests.bench import ours
from tests.bench.ours import Platform
from tests.bench.stage import ROOT, Stage, create_database
from tests.bench.upstream import Emulator, free_port
from workers.embedded import probes

DATABASE, REDIS_NUMBER = "peer", 10
# The leaner peer compares a token of its settings instead of a row.
SHARED_TOKEN = "of-all-customers"


@contextmanager
def peer(
    stage: Stage, emulator: Emulator, *, workers: tuple[int, ...] = (50, 50)
) -> Iterator[tuple[Platform, str]]:
    """Run the peer for the block; yield it and a customer's token."""
    environment = {
        **stage.url_of(database=DATABASE, redis_number=REDIS_NUMBER),
        "DJANGO_SETTINGS_MODULE": "tests.bench.peer.settings",
        "DEEPGRAM_BASE_URL": emulator.url,
        "SHARED_TOKEN": SHARED_TOKEN,
    }
    create_database(stage, DATABASE)
    token = subprocess.run(
        [sys.executable, "-m", "tests.bench.peer.make_token"],
        env={**stage.environment, **environment},
        cwd=ROOT,
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    ).stdout
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    with ExitStack() as stack:
        running = {}
        for number, threads in enumerate(workers, start=1):
            name = f"peer-worker-{number}"
            running[name] = stack.enter_context(
                stage.running(
                    name,
                    *("-m", "celery", "-A", "tests.bench.peer.celery", "worker"),
                    *("-P", "threads", "-c", str(threads), "--loglevel=INFO"),
                    *("-Q", "celery,webhooks", "-n", f"{name}@%h"),
                    *("--without-gossip", "--without-mingle"),
                    ready=lambda process: b" ready." in process.log.read_bytes(),
                    environment=environment,
                )
            )
        running["peer-web"] = stack.enter_context(
            stage.running(
                "peer-web",
                *ours.granian("tests.bench.peer.wsgi:application", port),
                ready=lambda _process: probes.http_answers(f"{url}/v1/jobs"),
                environment=environment,
            )
        )
        yield Platform(url=url, processes=running), token
