"""What every script here reports: a line of JSON for each check, and a failed exit."""

import json
import os
import traceback
import wave
from collections.abc import Callable
from pathlib import Path
from typing import Any

BASE, KEY, URL = (os.environ[name] for name in ("BASE", "KEY", "AUDIO_URL"))
SOCKETS = BASE.replace("http", "ws")
FILE = Path(os.environ["AUDIO"])
AUDIO = FILE.read_bytes()
with wave.open(str(FILE)) as reader:
    RATE = reader.getframerate()
    PCM = reader.readframes(reader.getnframes())
CHUNK = 6400
_failed = []


def check(name: str) -> Callable[[Callable[[], Any]], None]:
    """Run a function and report under this name; it returns something true."""

    def run(function: Callable[[], Any]) -> None:
        try:
            result, error = function(), ""
        except BaseException:  # noqa: BLE001  whatever a client raises
            result, error = None, traceback.format_exc()
        line = {"check": name, "ok": bool(result), "error": error}
        print(json.dumps(line), flush=True)  # noqa: T201  the report
        if not result:
            _failed.append(name)

    return run


def chunks(data: bytes) -> list[bytes]:
    return [data[at : at + CHUNK] for at in range(0, len(data), CHUNK)]


def finish() -> None:
    raise SystemExit(bool(_failed))
