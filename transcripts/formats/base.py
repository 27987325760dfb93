"""What every format is made of, and what it says of itself. Pure."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from transcripts.models import Transcript


class FormatSource:
    """A transcript's row with its job loaded, and the upstream's document."""

    def __init__(self, transcript: Transcript, raw: bytes) -> None:
        self.transcript = transcript
        self.raw = raw

    @cached_property
    def document(self) -> dict[str, Any]:
        """The document, parsed once."""
        found: dict[str, Any] = json.loads(self.raw)
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Format:
    """A form that a transcript can be had in: its name in ``?format=``, and how."""

    name: str
    media_type: str
    extension: str
    build: Callable[[FormatSource], bytes]
    # What the answer says of its bytes beside the type; None for what is no text.
    charset: str | None = "utf-8"


def encode(text: str) -> bytes:
    """Return it as UTF-8; half a surrogate pair, which JSON may hold, is a ``?``."""
    return text.encode("utf-8", "replace")
