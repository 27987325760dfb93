"""A transcription backend that does what the test says, call by call."""

import json
from collections.abc import Callable
from typing import Any

from jobs.errors import UpstreamError
from transcripts.backends import TranscriptionRequest, TranscriptionResult


def document(text: str = "hello world", duration: float = 2.0) -> dict[str, Any]:
    words = [
        {"word": word, "start": float(i), "end": i + 0.5, "confidence": 0.9}
        for i, word in enumerate(text.split())
    ]
    alternative = {"transcript": text, "confidence": 0.9, "words": words}
    return {
        "metadata": {
            "request_id": "r-1",
            "duration": duration,
            "channels": 1,
            "model_info": {"m": {"name": "fake"}},
        },
        "results": {"channels": [{"alternatives": [alternative]}]},
    }


class FakeBackend:
    """Answers from a script of documents and errors; the last one repeats."""

    def __init__(self, *script: dict[str, Any] | UpstreamError) -> None:
        self.script = list(script) or [document()]
        self.requests: list[TranscriptionRequest] = []
        self.during: Callable[[], None] = lambda: None

    def transcribe(self, request: TranscriptionRequest) -> TranscriptionResult:
        self.requests.append(request)
        self.during()
        step = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        if isinstance(step, UpstreamError):
            raise step
        raw = json.dumps(step).encode()
        return TranscriptionResult(raw=raw, document=step, request_id="r-1")
