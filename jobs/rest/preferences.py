"""Parse the ``Prefer`` header (RFC 7240): ``wait`` and ``respond-async``.

Unknown and malformed preferences are ignored; of repeated ones the first counts.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

HEADER = "Prefer"
APPLIED = "Preference-Applied"
MAX_WAIT_SECONDS = 60

# Possessive repetitions do not backtrack, so matching takes linear time.
_QUOTED = r'"(?:[^"\\]|\\.)*+"'
# name [= word] [; parameters], up to a comma or the end; a word is bare or quoted.
_PREFERENCE = re.compile(
    r"\s*+(?P<name>[!#$%&'*+.^_`|~0-9A-Za-z-]++)\s*+"
    rf"(?:=\s*+(?:(?P<quoted>{_QUOTED})|(?P<bare>[^\s\",;=]++))?+\s*+)?+"
    rf"(?:;(?:[^\",]|{_QUOTED})*+)?+(?:,|\Z)",
    re.DOTALL,
)
# Anything else up to the next comma outside quotes.
_OTHER = re.compile(rf"(?:[^\",]|{_QUOTED})*+(?:,|\Z)", re.DOTALL)
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)
# Bounded, because int() is slow for thousands of digits.
_SECONDS = re.compile(r"[0-9]{1,9}")
_MAX_LENGTH = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Preferences:
    """The preferences of a request; ``wait_seconds`` is 0 without ``wait``."""

    wait_seconds: int = 0
    respond_async: bool = False

    @classmethod
    def parse(cls, header: str) -> Self:
        """Parse the header; ``wait`` is capped at MAX_WAIT_SECONDS."""
        by_name: dict[str, str] = {}
        for name, value in _split(header[:_MAX_LENGTH]):
            by_name.setdefault(name.lower(), value)
        wait = by_name.get("wait", "")
        seconds = int(wait) if _SECONDS.fullmatch(wait) else 0
        return cls(
            wait_seconds=min(seconds, MAX_WAIT_SECONDS),
            respond_async="respond-async" in by_name,
        )


def _split(header: str) -> Iterator[tuple[str, str]]:
    """Yield each preference and its value; stops at an unclosed quote."""
    position = 0
    while position < len(header):
        if found := _PREFERENCE.match(header, position):
            quoted = (found["quoted"] or "")[1:-1]
            yield found["name"], _ESCAPED.sub(r"\1", quoted) or found["bare"] or ""
        elif not (found := _OTHER.match(header, position)):
            return
        position = found.end()
