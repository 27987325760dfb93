"""What both sides talk to: the emulator of Deepgram, and a customer."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from tests.bench.stage import Process, Stage, ask
from workers.embedded import processes


@dataclass(frozen=True, slots=True, kw_only=True)
class Emulator:
    """The emulator: canned words after a given latency."""

    url: str
    process: Process

    def tune(self, **settings: Any) -> None:
        """Change limits, latency or words from now on."""
        ask(f"{self.url}/__emu__/faults", method="POST", config=settings)

    def statistics(self) -> dict[str, Any]:
        """Return its counts and peaks."""
        return dict(ask(f"{self.url}/__emu__/stats"))

    def calls(self) -> list[dict[str, Any]]:
        """Return every call of its log."""
        found: list[dict[str, Any]] = []
        last, more = 0, True
        while more:
            page = ask(f"{self.url}/__emu__/log?since={last}")
            found += page["requests"]
            last, more = page["last"], page["has_more"]
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Customer:
    """Where the audio lies and the webhooks go."""

    url: str

    @property
    def body(self) -> dict[str, str]:
        """A request for a job, the same for both peers."""
        return {
            "audio_url": f"{self.url}/audio.wav",
            "callback_url": f"{self.url}/hook",
        }

    def count(self) -> int:
        """Return how many webhooks came."""
        return int(ask(f"{self.url}/count"))

    def webhooks(self) -> list[tuple[float, str, bool]]:
        """Return when each came, of which job, and whether it was signed."""
        return [tuple(each) for each in ask(f"{self.url}/log")]

    def forget(self) -> None:
        """Start anew."""
        ask(f"{self.url}/log", method="DELETE")


@contextmanager
def emulator(stage: Stage, **settings: Any) -> Iterator[Emulator]:
    """Run an emulator for the block."""
    ready_file = stage.folder / f"emulator-{os.urandom(4).hex()}"
    words = [
        word
        for name, value in settings.items()
        for word in (f"--{name.replace('_', '-')}", str(value))
    ]
    with stage.running(
        "emulator",
        *("-m", "workers.emulator", "--engine", "canned", "--port", "0"),
        *("--fetch-cache-seconds", "3600", "--ready-file", str(ready_file), *words),
        ready=lambda _process: ready_file.exists(),
    ) as process:
        url = json.loads(ready_file.read_text())["url"]
        yield Emulator(url=url, process=process)


@contextmanager
def customer(stage: Stage) -> Iterator[Customer]:
    """Run a customer for the block."""
    ready_file = stage.folder / f"sink-{os.urandom(4).hex()}"
    with stage.running(
        "sink",
        *("-m", "tests.bench.sink", str(ready_file)),
        ready=lambda _process: ready_file.exists(),
    ):
        yield Customer(url=ready_file.read_text())


free_port = processes.free_port
