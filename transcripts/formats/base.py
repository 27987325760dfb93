"""The description of an output format, and its input. Pure."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from transcripts.models import Transcript


class FormatSource:
    """What a format renders: a transcript row with its job, and Deepgram's document."""

    def __init__(self, transcript: Transcript, raw: bytes) -> None:
        self.transcript = transcript
        self.raw = raw

    @cached_property
    def document(self) -> dict[str, Any]:
        """The parsed document."""
        document: dict[str, Any] = json.loads(self.raw)
        return document


@dataclass(frozen=True, slots=True, kw_only=True)
class Format:
    """An output format of transcripts; ``name`` is its value of ``?format=``."""

    name: str
    media_type: str
    extension: str
    build: Callable[[FormatSource], bytes]
    # The charset of the Content-Type header; None for formats that need none.
    charset: str | None = "utf-8"


def encode(text: str) -> bytes:
    """Return the text as UTF-8; lone surrogates, which JSON allows, become ``?``."""
    return text.encode("utf-8", "replace")
