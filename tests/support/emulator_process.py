"""The emulator of Deepgram as a real process, with the official SDK in front of it."""

import importlib
import json
import signal
import subprocess
import sys
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from deepgram import DeepgramClient, DeepgramClientEnvironment

from tests.support import ROOT
from tests.support.waiting import eventually

with warnings.catch_warnings():
    # Loaded on first use, the SDK names classes that websockets has deprecated.
    warnings.simplefilter("ignore", DeprecationWarning)
    importlib.import_module("deepgram.listen.v1.client")

READY_SECONDS = 30
SIDE_KEY = "side-key"


@dataclass
class EmulatorProcess:
    """A running emulator, and the calls of its control API."""

    url: str
    popen: subprocess.Popen[bytes]
    http: httpx.Client

    @classmethod
    def start(cls, folder: Path, *arguments: str) -> "EmulatorProcess":
        """Start one, and return once it is ready."""
        ready = folder / "ready.json"
        command = [sys.executable, "-m", "workers.emulator", "--port", "0"]
        popen = subprocess.Popen(
            [*command, "--ready-file", str(ready), *arguments], cwd=ROOT
        )
        eventually(lambda: ready.exists() or popen.poll() is not None, READY_SECONDS)
        url = json.loads(ready.read_text())["url"]
        http = httpx.Client(base_url=url, trust_env=False, timeout=60)
        return cls(url=url, popen=popen, http=http)

    def stop(self) -> None:
        self.http.close()
        self.popen.send_signal(signal.SIGTERM)
        self.popen.wait(5)

    def configure(self, **body: Any) -> dict[str, Any]:
        """Set faults, limits and latencies."""
        answer = self.http.post("/__emu__/faults", json=body)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def inject_fault(self, kind: str, **fields: Any) -> None:
        rule = {"kind": kind, "match": {"path": "/v1/listen"}, **fields}
        self.configure(rules=[rule])

    def stats(self) -> dict[str, Any]:
        return self.http.get("/__emu__/stats").json()

    def log(self, **query: str) -> list[dict[str, Any]]:
        return self.http.get("/__emu__/log", params=query).json()["requests"]

    def listen_calls(self) -> list[dict[str, Any]]:
        """Return the calls of /v1/listen, the first one first."""
        return [call for call in self.log() if call["path"] == "/v1/listen"]

    def streams(self) -> list[dict[str, Any]]:
        return self.http.get("/__emu__/streams").json()["streams"]

    def cut_streams(self, how: str = "rst") -> list[Any]:
        answer = self.http.delete("/__emu__/streams", params={"how": how})
        return answer.json()["cut"]

    def reset(self) -> None:
        """Forget faults and log, as if it had just started."""
        self.http.delete("/__emu__/faults")
        self.cut_streams()
        self.http.delete("/__emu__/log")

    def client(self, key: str = "test-key") -> DeepgramClient:
        return sdk_client(self.url, key, self.http)


def sdk_client(url: str, key: str, http: httpx.Client) -> DeepgramClient:
    """Return Deepgram's SDK with another base URL, without retries."""
    environment = DeepgramClientEnvironment(
        base=url, production=url.replace("http", "ws"), agent=url, agent_rest=url
    )
    return DeepgramClient(
        api_key=key, environment=environment, httpx_client=http, max_retries=0
    )
