"""What shall go wrong, and when: decided by tags in the call or by rules set before.

A tag reads `emu:<what>[x<times>][ra<seconds>]`, for example `emu:429x2ra1`: answer 429
with `Retry-After: 1`, the first two times. In a live stream `emu:cut2.5` resets the
connection after 2.5 s of audio, `emu:cut3m` after three results. Pure decisions;
`misbehaviour` and `live.session` act on them.
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
# How many subjects are counted before the oldest are forgotten.
_MOST_COUNTERS = 200_000


class Kind(StrEnum):
    """What goes wrong."""

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
    # In the middle of a live stream, after so many seconds of audio or results.
    CUT = "cut"
    BYE = "bye"
    STALL = "stall"
    SLOW = "slow"


MIDSTREAM = frozenset({Kind.CUT, Kind.BYE, Kind.STALL})
# Decided before the body is read, when its hash is not known yet.
EARLY = frozenset({Kind.RST, Kind.NOREAD})
LATE = frozenset(Kind) - EARLY - MIDSTREAM - {Kind.SLOW}
# What keeps a live stream from beginning, and all that can happen to one.
HANDSHAKE = frozenset({Kind.STATUS, Kind.HTML, Kind.CLOSE, Kind.RST})
LIVE = (
    HANDSHAKE
    | MIDSTREAM
    | {Kind.DELAY, Kind.SLOW, Kind.NOREAD, Kind.BADJSON, Kind.WEIRD, Kind.EMPTY}
)
# The call goes on and ends well, only later or with other words.
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
    """The rule sent to the emulator does not make sense."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One thing that goes wrong."""

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
    """What is known of a call when its faults are chosen.

    `content` is the hash of the audio or its URL: what makes a repeated call the same.
    """

    tags: tuple[str, ...]
    path: str
    model: str
    url: str
    content: str

    @property
    def identity(self) -> str:
        """Return the job the call belongs to, else its content."""
        job = next((tag for tag in self.tags if tag.startswith(JOB_PREFIX)), None)
        return job or self.content


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """A fault for whatever call matches."""

    number: int
    fault: Fault
    match: Mapping[str, str]
    probability: float
    times: int | None
    is_per_subject: bool
    source: Mapping[str, Any]

    def matches(self, subject: Subject) -> bool:
        """Tell whether every part of the match is found in the call."""
        return all(
            self._finds(name, text, subject) for name, text in self.match.items()
        )

    @staticmethod
    def _finds(name: str, text: str, subject: Subject) -> bool:
        if name == "tag":
            return any(text in tag for tag in subject.tags)
        return text in getattr(subject, name)


class FaultPlan:
    """Choose the faults of each call, and count how often each one struck."""

    def __init__(self, *, seed: int) -> None:
        self._seed = seed
        self._rules: list[Rule] = []
        self._next_number = 1
        self._counts: dict[tuple[str, str], int] = {}
        self._totals: collections.Counter[str] = collections.Counter()

    def choose(self, subject: Subject, kinds: Set[Kind]) -> tuple[Fault, ...]:
        """Return what of these kinds goes wrong; each is asked for once in a call."""
        if not self._rules and not any(t.startswith(PREFIX) for t in subject.tags):
            return ()
        return (
            *self._choose_by_tag(subject, kinds),
            *self._choose_by_rule(subject, kinds),
        )

    def add(self, sources: Iterable[Mapping[str, Any]]) -> None:
        """Add rules after those that are there; all, or none and InvalidRule."""
        first = self._next_number
        rules = [
            parse_rule(source, number=n) for n, source in enumerate(sources, first)
        ]
        self._next_number += len(rules)
        self._rules += rules

    def clear(self) -> None:
        """Forget rules and counters."""
        self._rules.clear()
        self._counts.clear()
        self._totals.clear()
        self._next_number = 1

    def describe(self) -> list[dict[str, Any]]:
        """Return the rules as they were given, and how often each one struck."""
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
            turn = self._count(f"turn:{rule.number}", subject.identity)
            draw = chance.fraction(self._seed, rule.number, subject.identity, turn)
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
        """Count per subject; the subjects of long ago are forgotten."""
        key = (name, identity)
        count = self._counts.get(key, 0) + 1
        self._counts[key] = count
        if len(self._counts) > _MOST_COUNTERS:
            del self._counts[next(iter(self._counts))]
        return count


def parse_tag(tag: str) -> tuple[Fault, int | None] | None:
    """Return the fault a tag asks for and how many times; None for other tags."""
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
    """Return a rule from its JSON, or raise InvalidRule saying what is wrong."""
    if unknown := source.keys() - _RULE_FIELDS:
        raise InvalidRule(f"unknown fields: {', '.join(sorted(unknown))}")
    match = source.get("match", {})
    if unknown := match.keys() - _MATCHABLE:
        raise InvalidRule(f"cannot match on: {', '.join(sorted(unknown))}")
    if source.get("per", "rule") not in {"rule", "job"}:
        raise InvalidRule("per is either rule or job")
    probability = float(source.get("probability", 1.0))
    if not 0 <= probability <= 1:
        raise InvalidRule("probability is between 0 and 1")
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
        raise InvalidRule("a rule says what goes wrong: status, body, kind or delay_s")
    has_answer = not source.keys().isdisjoint({"status", "body"})
    default = Kind.STATUS if has_answer else Kind.DELAY
    try:
        kind = Kind(source.get("kind", default))
    except ValueError as error:
        raise InvalidRule(str(error)) from error
    status = int(source.get("status", 200 if has_answer else 0))
    if kind is Kind.STATUS and not 200 <= status < 600:  # noqa: PLR2004 - HTTP's own
        raise InvalidRule("a status lies between 200 and 599")
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
