"""Read ``Prefer`` (RFC 7240): how long the caller would wait for an end.

Preferences are wishes: what is unknown or makes no sense is passed over in silence,
and of two with one name the first counts.
"""

import re
from dataclasses import dataclass
from typing import Self

HEADER = "Prefer"
APPLIED = "Preference-Applied"
MAX_WAIT_SECONDS = 60

# name [= word] [; parameters], where a word is bare or quoted.
_WORD = r'(?:"(?P<quoted>(?:[^"\\]|\\.)*)"|(?P<bare>[^\s",;=]+))'
_PREFERENCE = re.compile(
    rf"\s*(?P<name>[!#$%&'*+.^_`|~0-9A-Za-z-]+)\s*(?:=\s*{_WORD}?\s*)?"
    r'(?:;(?:[^",]|"(?:[^"\\]|\\.)*")*)?\s*$'
)
_BETWEEN = re.compile(r',(?=(?:[^"\\]|\\.|"(?:[^"\\]|\\.)*")*$)')
# Nobody means more digits than these; int() takes ever longer for more.
_SECONDS = re.compile(r"[0-9]{1,9}")
_MAX_LENGTH = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Preferences:
    """What the caller would like; ``wait_seconds`` 0 is not to wait."""

    wait_seconds: int = 0
    respond_async: bool = False

    @classmethod
    def parse(cls, header: str) -> Self:
        """Read the header; a wait of more than a minute is one of a minute."""
        named: dict[str, str] = {}
        for part in _BETWEEN.split(header[:_MAX_LENGTH]):
            if match := _PREFERENCE.match(part):
                value = match["quoted"] or match["bare"] or ""
                named.setdefault(match["name"].lower(), value)
        wait = named.get("wait", "")
        seconds = int(wait) if _SECONDS.fullmatch(wait) else 0
        return cls(
            wait_seconds=min(seconds, MAX_WAIT_SECONDS),
            respond_async="respond-async" in named,
        )
