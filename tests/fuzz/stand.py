"""What a fuzz run stands on: a database of its own, rows in it, the real servers.

On the servers that DATABASE_URL and REDIS_URL name, else on ones of its own.
"""

import base64
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.servers import servers
from tests.support import ROOT
from tests.support.database import own_databases
from workers.embedded.binaries import scratch_folder
from workers.embedded.probes import http_answers
from workers.embedded.processes import free_port, wait_until

REDIS_NUMBER = 60
# A line that says that something went wrong on our side.
_BAD_LINE = re.compile(r'Traceback|"traceback"|panicked|"level": "(ERROR|CRITICAL)"')


@dataclass(slots=True, kw_only=True)
class Stand:
    """The folder, and the doors that are open."""

    folder: Path
    ports: dict[str, int] = field(default_factory=dict)
    pids: dict[str, int] = field(default_factory=dict)

    @property
    def redis_url(self) -> str:
        """Where the servers' permits are."""
        return os.environ["REDIS_URL"]

    def bad_lines(self) -> list[str]:
        """Return what the servers' logs say of errors."""
        found = []
        for log in sorted(self.folder.glob("*.log")):
            lines = log.read_text(errors="replace").splitlines()
            for number, line in enumerate(lines):
                if _BAD_LINE.search(line):
                    told = lines[number : number + (1 if line.startswith("{") else 16)]
                    found.append(f"{log.name}: {told}"[:3000])
        return found


@contextmanager
def prepared() -> Iterator[Stand]:
    """Make a database, and put all addresses into this process's environment."""
    folder = scratch_folder("transcribe-fuzz-")
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        if not (os.environ.get("DATABASE_URL") and os.environ.get("REDIS_URL")):
            os.environ.update(stack.enter_context(servers(folder, durable=False)))
        os.environ.update(stack.enter_context(own_databases(redis_number=REDIS_NUMBER)))
        os.environ.update(
            {
                "DJANGO_SETTINGS_MODULE": "transcribe_platform.settings",
                "SECRET_KEY": "fuzz",
                "FIELD_ENCRYPTION_KEYS": base64.urlsafe_b64encode(bytes(32)).decode(),
                "MEDIA_ROOT": str(folder / "media"),
                "ALLOWED_HOSTS": "localhost,127.0.0.1",
                "BASE_URL": "http://127.0.0.1:8000",
                "DEEPGRAM_API_KEY": "fuzz",
                "LOG_LEVEL": "INFO",
                # Throttles have tests of their own, and would hide everything here.
                "REQUESTS_PER_MINUTE": "0",
                "REQUESTS_PER_MINUTE_PER_KEY": "0",
                "FAILED_KEYS_PER_MINUTE": "0",
                # An event stream is over before anybody could think that it hangs.
                "EVENT_STREAM_SECONDS": "0.3",
            }
        )
        os.environ.setdefault("PYTHONPYCACHEPREFIX", str(folder / "pycache"))
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
        yield Stand(folder=folder)


@contextmanager
def serving(stand: Stand, *interfaces: str) -> Iterator[None]:
    """Open the doors, each in a process of its own."""
    with ExitStack() as stack:
        for interface in interfaces:
            stack.enter_context(_granian(stand, interface))
        yield


@contextmanager
def emulating(stand: Stand) -> Iterator[str]:
    """Run the upstream's emulator, and give its address."""
    ready = stand.folder / "emulator.json"
    words = ("-m", "workers.emulator", "--engine", "canned", "--port", "0")
    process = subprocess.Popen(
        [sys.executable, *words, "--ready-file", str(ready)],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        if not wait_until(ready.exists, seconds=60):
            raise RuntimeError("the emulator did not start")
        yield json.loads(ready.read_text())["url"]
    finally:
        process.terminate()
        process.wait()


@contextmanager
def _granian(stand: Stand, interface: str) -> Iterator[None]:
    port = free_port()
    words = [sys.executable, "-m", "granian", "--interface", interface]
    words += ["--host", "127.0.0.1", "--port", str(port)]
    words += ["--blocking-threads", "16"] if interface == "wsgi" else []
    temporary = stand.folder / "tmp"
    temporary.mkdir(exist_ok=True)
    with (stand.folder / f"{interface}.log").open("wb") as log:
        process = subprocess.Popen(
            [*words, f"transcribe_platform.{interface}:application"],
            cwd=ROOT,
            env={**os.environ, "TMPDIR": str(temporary)},
            stdout=log,
            stderr=log,
        )
    stand.ports[interface], stand.pids[interface] = port, process.pid
    try:
        url = f"http://127.0.0.1:{port}/health/ready"
        if not wait_until(lambda: http_answers(url), seconds=90):
            raise RuntimeError(f"{interface} did not start")
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
