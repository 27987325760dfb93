"""What the emulator saw: its log, kept over its deaths, and the faults it is told."""

import time
from dataclasses import dataclass, field
from typing import Any

import httpx

# One call in ten goes wrong, in the ways that upstreams and networks have.
FAULTS = [
    {"status": 503, "probability": 0.04},
    {"kind": "drop", "probability": 0.02},
    {"kind": "rst", "probability": 0.02},
    {"kind": "close", "probability": 0.01},
    {"status": 429, "headers": {"retry-after": "0.2"}, "probability": 0.01},
]


@dataclass(slots=True)
class Upstream:
    """The emulator's control endpoints; its log lives on here when it dies."""

    base_url: str
    calls: dict[str, dict[str, Any]] = field(default_factory=dict)
    # Calls that began in such a span may be missing from the log: it died with them.
    gaps: list[tuple[float, float]] = field(default_factory=list)
    refused: int = 0
    _since: int = 0
    _read_at: float = 0.0

    def inject(self) -> None:
        """Tell a new emulator what shall go wrong; its log begins anew."""
        self._since, self._read_at = 0, time.time()
        self._ask("POST", "/__emu__/faults", json={"rules": FAULTS})

    def read(self) -> None:
        """Read what is new in the log, and what has ended since."""
        read_at = time.time()
        since, has_more = self._since, True
        while has_more:
            query = {"since": str(since), "path": "/v1/listen"}
            page = self._ask("GET", "/__emu__/log", params=query)
            self.calls |= {call["request_id"]: call for call in page["requests"]}
            since, has_more = page["last"], page["has_more"]
        # The next reading begins at the first call that had not ended.
        under_way = (c["seq"] for c in self.calls.values() if c["outcome"] == "open")
        self._since = min((since, *(seq - 1 for seq in under_way)))
        self.refused = self._ask("GET", "/__emu__/stats")["refused"]
        self._read_at = read_at

    def mourn(self) -> None:
        """Note that it was killed: what came after the last reading is lost."""
        self._since = 0
        self.gaps.append((self._read_at, time.time()))
        for call in self.calls.values():
            if call["outcome"] == "open":
                call["outcome"] = "lost"

    def _ask(self, method: str, path: str, **request: Any) -> dict[str, Any]:
        answer = httpx.request(
            method, self.base_url + path, timeout=20, trust_env=False, **request
        )
        answer.raise_for_status()
        found: dict[str, Any] = answer.json()
        return found


@dataclass(frozen=True, slots=True)
class Upstreams:
    """Several as one, by region."""

    each: dict[str, Upstream]

    @property
    def calls(self) -> dict[str, dict[str, Any]]:
        """All calls; request ids are unique everywhere."""
        return {
            key: call for one in self.each.values() for key, call in one.calls.items()
        }

    @property
    def gaps(self) -> list[tuple[float, float]]:
        return [gap for one in self.each.values() for gap in one.gaps]

    @property
    def refused(self) -> int:
        return sum(one.refused for one in self.each.values())

    def read(self) -> None:
        for one in self.each.values():
            one.read()

    def inject(self) -> None:
        for one in self.each.values():
            one.inject()
