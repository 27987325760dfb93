"""Read ``Prefer`` (RFC 7240): how long the caller would wait for an end.

Preferences are wishes: what is unknown or makes no sense is ignored, and of two with
one name the first counts.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

HEADER = "Prefer"
APPLIED = "Preference-Applied"
MAX_WAIT_SECONDS = 60

# Every repetition is possessive: it never gives back a character, so the time grows
# with the length of the header and not with a power of it.
_QUOTED = r'"(?:[^"\\]|\\.)*+"'
# name [= word] [; parameters], up to a comma or the end; a word is bare or quoted.
_PREFERENCE = re.compile(
    r"\s*+(?P<name>[!#$%&'*+.^_`|~0-9A-Za-z-]++)\s*+"
    rf"(?:=\s*+(?:(?P<quoted>{_QUOTED})|(?P<bare>[^\s\",;=]++))?+\s*+)?+"
    rf"(?:;(?:[^\",]|{_QUOTED})*+)?+(?:,|\Z)",
    re.DOTALL,
)
# What is not a preference, up to the same place; a comma in quotes is part of it.
_OTHER = re.compile(rf"(?:[^\",]|{_QUOTED})*+(?:,|\Z)", re.DOTALL)
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)
# No sensible wait has more digits; int() is slow for thousands of them.
_SECONDS = re.compile(r"[0-9]{1,9}")
_MAX_LENGTH = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Preferences:
    """What the caller would like; ``wait_seconds`` 0 is not to wait."""

    wait_seconds: int = 0
    respond_async: bool = False

    @classmethod
    def parse(cls, header: str) -> Self:
        """Read the header; a wait of more than a minute counts as a minute."""
        named: dict[str, str] = {}
        for name, value in _read(header[:_MAX_LENGTH]):
            named.setdefault(name.lower(), value)
        wait = named.get("wait", "")
        seconds = int(wait) if _SECONDS.fullmatch(wait) else 0
        return cls(
            wait_seconds=min(seconds, MAX_WAIT_SECONDS),
            respond_async="respond-async" in named,
        )


def _read(header: str) -> Iterator[tuple[str, str]]:
    """Yield each preference and its value; an open quote ends the reading."""
    place = 0
    while place < len(header):
        if found := _PREFERENCE.match(header, place):
            quoted = (found["quoted"] or "")[1:-1]
            yield found["name"], _ESCAPED.sub(r"\1", quoted) or found["bare"] or ""
        elif not (found := _OTHER.match(header, place)):
            return
        place = found.end()
