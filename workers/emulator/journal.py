"""The log of calls and their outcomes, in order of arrival.

Stored in a ring buffer in memory. Counts cover the whole run.
"""

import collections
import datetime
import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

REDACTED = "(redacted)"
# nginx logs this status when the client closes the connection early.
CLIENT_GONE = 499
# Most clients repeat their headers; equal header blocks are stored once.
_SHARED_HEADERS = 4096
_SECRET_HEADERS = frozenset({"authorization", "cookie", "proxy-authorization"})
# The entry has the length; it would make every header block different.
_DROPPED_HEADERS = frozenset({"content-length"})


# Fields of an entry that the log shows unchanged, and those whose "" it shows as null.
_PLAIN_FIELDS = (
    *("seq", "request_id", "key", "project", "status", "outcome", "method", "path"),
    *("query", "duration", "close_code", "callback_attempts", "callback_status"),
)
_OPTIONAL_FIELDS = ("fault", "url", "sha256", "callback")


class Outcome(StrEnum):
    """How a call ended; OPEN while in progress."""

    OPEN = "open"
    OK = "ok"
    ERROR = "error"
    FAULT = "fault"
    ABORTED = "aborted"


@dataclass(slots=True, kw_only=True)
class Entry:
    """One call. Times are seconds since the epoch; `headers` are lines of text."""

    request_id: str
    started_at: float
    method: str
    path: str
    query: str
    tags: tuple[str, ...]
    headers: str
    seq: int = 0
    key: str = ""
    project: str = ""
    finished_at: float | None = None
    status: int | None = None
    outcome: Outcome = Outcome.OPEN
    fault: str = ""
    url: str = ""
    size_bytes: int = 0
    sha256: str = ""
    duration: float | None = None
    model: str = ""
    features: tuple[str, ...] = ()
    close_code: int | None = None
    callback: str = ""
    callback_attempts: int = 0
    callback_status: int | None = None

    def describe(self) -> dict[str, Any]:
        """Return the entry as JSON for the log."""
        plain = {name: getattr(self, name) for name in _PLAIN_FIELDS}
        optional = {name: getattr(self, name) or None for name in _OPTIONAL_FIELDS}
        return {
            **plain,
            **optional,
            "started_at": format_time(self.started_at),
            "finished_at": format_time(self.finished_at),
            "tags": list(self.tags),
            "headers": _split_headers(self.headers),
            "bytes": self.size_bytes,
        }


class Journal:
    """Opens, closes and lists entries."""

    def __init__(self, size: int) -> None:
        self._entries: collections.deque[Entry] = collections.deque(maxlen=size)
        self._numbers = itertools.count(1)
        self._header_blocks: dict[str, str] = {}
        self._statuses: collections.Counter[int] = collections.Counter()
        self._outcomes: collections.Counter[str] = collections.Counter()

    def open(self, entry: Entry) -> None:
        """Append an entry and assign its `seq`."""
        entry.seq = next(self._numbers)
        entry.headers = self._share(entry.headers)
        self._entries.append(entry)

    def close(self, entry: Entry, *, status: int, outcome: Outcome, now: float) -> None:
        """Record the outcome of a call; later calls have no effect."""
        if entry.outcome is not Outcome.OPEN:
            return
        entry.finished_at = now
        entry.status = status
        entry.outcome = outcome
        self._statuses[status] += 1
        self._outcomes[outcome.value] += 1

    def since(self, seq: int) -> Iterator[Entry]:
        """Yield the entries after this `seq`, oldest first."""
        if not self._entries:
            return
        skipped = max(0, seq + 1 - self._entries[0].seq)
        yield from itertools.islice(self._entries, skipped, None)

    def newest_first(self) -> Iterator[Entry]:
        """Yield all entries, newest first."""
        yield from reversed(self._entries)

    def report(self) -> dict[str, Any]:
        """Return the counts for the statistics."""
        return {
            "total": sum(self._statuses.values()),
            "by_status": {str(code): n for code, n in sorted(self._statuses.items())},
            "by_outcome": dict(sorted(self._outcomes.items())),
            "too_many_requests": self._statuses[429],
        }

    def clear(self) -> None:
        """Delete entries and counts. `seq` continues, so `since` stays valid."""
        self._entries.clear()
        self._statuses.clear()
        self._outcomes.clear()

    def _share(self, block: str) -> str:
        known = self._header_blocks.get(block)
        if known is not None:
            return known
        if len(self._header_blocks) >= _SHARED_HEADERS:
            self._header_blocks.clear()
        self._header_blocks[block] = block
        return block


def format_time(seconds: float | None) -> str | None:
    """Return a point in time as ISO 8601 in UTC, to the microsecond."""
    if seconds is None:
        return None
    time = datetime.datetime.fromtimestamp(seconds, datetime.UTC)
    return time.isoformat(timespec="microseconds").replace("+00:00", "Z")


def write_headers(headers: Mapping[str, str]) -> str:
    """Return headers as lines of text, with secrets redacted."""
    lines = []
    for name, value in headers.items():
        lowered = name.lower()
        if lowered in _SECRET_HEADERS:
            lines.append(f"{lowered}: {REDACTED}")
        elif lowered not in _DROPPED_HEADERS:
            lines.append(f"{lowered}: {value}")
    return "\n".join(lines)


def _split_headers(block: str) -> dict[str, str]:
    """Return the headers by name; repeated headers are joined by commas."""
    headers: dict[str, str] = {}
    for line in block.split("\n"):
        name, _, value = line.partition(": ")
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return headers
