"""Chooses the faults of a call, by its tags or by rules of the control API.

A tag has the form `emu:<kind>[x<times>][ra<seconds>]`: `emu:429x2ra1` responds 429
with `Retry-After: 1` to the first two calls. In a live stream `emu:cut2.5` resets the
connection after 2.5 s of audio, `emu:cut3m` after three results. Performs no I/O;
`injection` and `live.session` apply the faults.
"""

import collections
import re
from collections.abc import Iterable, Iterator, Mapping, Set
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from workers.emulator.faults import chance

PREFIX = "emu:"
JOB_PREFIX = "job:"
# Counters of the oldest subjects are dropped above this number.
_MAX_COUNTERS = 200_000


class Kind(StrEnum):
    """The kinds of faults."""

    STATUS = "status"
    DELAY = "delay"
    DROP = "drop"
    CLOSE = "close"
    RST = "rst"
    HTML = "html"
    BADJSON = "badjson"
    WEIRD = "weird"
    DRIP = "drip"
    NOREAD = "noread"
    TRUNCATE = "truncate"
    EMPTY = "empty"
    # Apply during a live stream, after a number of seconds of audio or of results.
    CUT = "cut"
    BYE = "bye"
    STALL = "stall"
    SLOW = "slow"


MIDSTREAM = frozenset({Kind.CUT, Kind.BYE, Kind.STALL})
# Chosen before the body is read: its hash is not known yet.
EARLY = frozenset({Kind.RST, Kind.NOREAD})
LATE = frozenset(Kind) - EARLY - MIDSTREAM - {Kind.SLOW}
# Faults of a live handshake, and all faults of a live call.
HANDSHAKE = frozenset({Kind.STATUS, Kind.HTML, Kind.CLOSE, Kind.RST})
LIVE = (
    HANDSHAKE
    | MIDSTREAM
    | {Kind.DELAY, Kind.SLOW, Kind.NOREAD, Kind.BADJSON, Kind.WEIRD, Kind.EMPTY}
)
# The call succeeds, but later or with different words.
MILD = frozenset({Kind.DELAY, Kind.TRUNCATE, Kind.EMPTY})

_NAMES = "|".join(kind.value for kind in Kind if kind is not Kind.STATUS)
_TAG = re.compile(
    rf"(?:(?P<status>[2-5]\d\d)(?P<alternate>alt)?"
    rf"|(?P<kind>{_NAMES})(?P<value>\d+(?:\.\d+)?)?(?P<counted>m)?)"
    r"(?:x(?P<times>\d{1,9}))?(?:ra(?P<retry_after>\d+(?:\.\d+)?))?"
)
_MATCHABLE = frozenset({"tag", "path", "model", "url"})
_RULE_FIELDS = frozenset(
    {"match", "probability", "times", "per", "delay_s", "kind", "value"}
    | {"status", "headers", "body", "alternate", "counted"}
)


class InvalidRule(ValueError):
    """A rule has unknown fields or invalid values."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One fault to apply to a call."""

    name: str
    kind: Kind
    status: int = 0
    value: float | None = None
    delay_seconds: float = 0.0
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Any = None
    is_alternate: bool = False
    is_counted: bool = False  # the value counts results, not seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """The properties of a call that tags and rules match.

    `content` is the hash of the audio or its URL; it identifies a repeated call.
    """

    tags: tuple[str, ...]
    path: str
    model: str
    url: str
    content: str

    @property
    def identity(self) -> str:
        """Return the `job:` tag of the call, or else its content."""
        job = next((tag for tag in self.tags if tag.startswith(JOB_PREFIX)), None)
        return job or self.content


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """A fault for every call that matches."""

    number: int
    fault: Fault
    match: Mapping[str, str]
    probability: float
    times: int | None
    is_per_subject: bool
    source: Mapping[str, Any]

    def matches(self, subject: Subject) -> bool:
        """Return whether the call contains every text of `match`."""
        return all(
            self._contains(name, text, subject) for name, text in self.match.items()
        )

    @staticmethod
    def _contains(name: str, text: str, subject: Subject) -> bool:
        if name == "tag":
            return any(text in tag for tag in subject.tags)
        return text in getattr(subject, name)


class FaultPlan:
    """Chooses the faults of each call and counts how often each rule applied."""

    def __init__(self, *, seed: int) -> None:
        self._seed = seed
        self._rules: list[Rule] = []
        self._next_number = 1
        self._counts: dict[tuple[str, str], int] = {}
        self._totals: collections.Counter[str] = collections.Counter()

    def choose(self, subject: Subject, kinds: Set[Kind]) -> tuple[Fault, ...]:
        """Return the faults of these kinds. Call once per kind and call: it counts."""
        if not self._rules and not any(t.startswith(PREFIX) for t in subject.tags):
            return ()
        return (
            *self._choose_by_tag(subject, kinds),
            *self._choose_by_rule(subject, kinds),
        )

    def add(self, sources: Iterable[Mapping[str, Any]]) -> None:
        """Append rules, or raise InvalidRule and append none."""
        first = self._next_number
        rules = [
            parse_rule(source, number=n) for n, source in enumerate(sources, first)
        ]
        self._next_number += len(rules)
        self._rules += rules

    def clear(self) -> None:
        """Delete rules and counters."""
        self._rules.clear()
        self._counts.clear()
        self._totals.clear()
        self._next_number = 1

    def describe(self) -> list[dict[str, Any]]:
        """Return the rules as received, and how often each one applied."""
        return [
            {
                "number": rule.number,
                **rule.source,
                "struck": self._totals[f"struck:{rule.number}"],
            }
            for rule in self._rules
        ]

    def _choose_by_tag(self, subject: Subject, kinds: Set[Kind]) -> Iterator[Fault]:
        for tag in subject.tags:
            parsed = parse_tag(tag)
            if parsed is None:
                continue
            fault, times = parsed
            if fault.kind not in kinds:
                continue
            if times is None or self._count(tag, subject.identity) <= times:
                yield fault

    def _choose_by_rule(self, subject: Subject, kinds: Set[Kind]) -> Iterator[Fault]:
        for rule in self._rules:
            if rule.fault.kind not in kinds or not rule.matches(subject):
                continue
            match_count = self._count(f"match:{rule.number}", subject.identity)
            draw = chance.fraction(
                self._seed, rule.number, subject.identity, match_count
            )
            if draw >= rule.probability:
                continue
            if rule.times is None or self._count_times(rule, subject) <= rule.times:
                self._totals[f"struck:{rule.number}"] += 1
                yield rule.fault

    def _count_times(self, rule: Rule, subject: Subject) -> int:
        name = f"times:{rule.number}"
        if rule.is_per_subject:
            return self._count(name, subject.identity)
        self._totals[name] += 1
        return self._totals[name]

    def _count(self, name: str, identity: str) -> int:
        """Count per subject; drop the oldest counter when there are too many."""
        key = (name, identity)
        count = self._counts.get(key, 0) + 1
        self._counts[key] = count
        if len(self._counts) > _MAX_COUNTERS:
            del self._counts[next(iter(self._counts))]
        return count


def parse_tag(tag: str) -> tuple[Fault, int | None] | None:
    """Return the fault of a tag and its number of times; None for other tags."""
    if not tag.startswith(PREFIX):
        return None
    name = tag.removeprefix(PREFIX)
    found = _TAG.fullmatch(name)
    if found is None:
        return None
    part = found.groupdict()
    retry_after = part["retry_after"]
    value = float(part["value"]) if part["value"] else None
    kind = Kind(part["kind"]) if part["kind"] else Kind.STATUS
    fault = Fault(
        name=name,
        kind=kind,
        status=int(part["status"] or 0),
        value=value,
        delay_seconds=_delay_of(kind, value),
        headers={"retry-after": retry_after} if retry_after else {},
        is_alternate=part["alternate"] is not None,
        is_counted=part["counted"] is not None,
    )
    return fault, int(part["times"]) if part["times"] else None


def parse_rule(source: Mapping[str, Any], *, number: int) -> Rule:
    """Return a rule from its JSON, or raise InvalidRule."""
    if unknown := source.keys() - _RULE_FIELDS:
        raise InvalidRule(f"Unknown fields: {', '.join(sorted(unknown))}")
    match = source.get("match", {})
    if unknown := match.keys() - _MATCHABLE:
        raise InvalidRule(f"Cannot match on: {', '.join(sorted(unknown))}")
    if source.get("per", "rule") not in {"rule", "job"}:
        raise InvalidRule("`per` must be rule or job.")
    probability = float(source.get("probability", 1.0))
    if not 0 <= probability <= 1:
        raise InvalidRule("`probability` must be between 0 and 1.")
    times = source.get("times")
    return Rule(
        number=number,
        fault=_parse_fault(source, number),
        match={name: str(text) for name, text in match.items()},
        probability=probability,
        times=None if times is None else int(times),
        is_per_subject=source.get("per") == "job",
        source=dict(source),
    )


def _parse_fault(source: Mapping[str, Any], number: int) -> Fault:
    if source.keys().isdisjoint({"status", "body", "kind", "delay_s"}):
        raise InvalidRule("A rule needs one of status, body, kind, delay_s.")
    has_answer = not source.keys().isdisjoint({"status", "body"})
    default = Kind.STATUS if has_answer else Kind.DELAY
    try:
        kind = Kind(source.get("kind", default))
    except ValueError as error:
        raise InvalidRule(str(error)) from error
    status = int(source.get("status", 200 if has_answer else 0))
    if kind is Kind.STATUS and not 200 <= status < 600:  # noqa: PLR2004 - HTTP's own
        raise InvalidRule("`status` must be between 200 and 599.")
    value = None if source.get("value") is None else float(source["value"])
    delay = source.get("delay_s")
    return Fault(
        name=f"rule {number}: {kind.value}{status or ''}",
        kind=kind,
        status=status,
        value=value,
        delay_seconds=_delay_of(kind, value) if delay is None else float(delay),
        headers={str(k): str(v) for k, v in source.get("headers", {}).items()},
        body=source.get("body"),
        is_alternate=bool(source.get("alternate", False)),
        is_counted=bool(source.get("counted", False)),
    )


def _delay_of(kind: Kind, value: float | None) -> float:
    if kind is not Kind.DELAY:
        return 0.0
    return 1.0 if value is None else value
