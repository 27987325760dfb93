"""Lay what happened along a line of time: lanes of bars, in thousandths. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from jobs.models import Attempt
from jobs.state import FINAL, JobStatus
from workers.admin_site.job_page.timeline import (
    JobTimeline,
    TimelineCall,
    TimelineDelivery,
)

WIDTH = 1000
# What takes no time is to be seen all the same.
_LEAST = 4
_MINUTE = 60
_HOURS_SAID = 48
# The class of the statuses that mean it was taken.
_GOOD = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class ChartBar:
    """A stretch of a lane; ``kind`` is its colour, ``title`` says what it is."""

    x: int
    width: int
    kind: str
    title: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ChartRow:
    """A line of bars, and what they are of."""

    label: str
    bars: list[ChartBar]


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """Lanes under one axis."""

    begin: datetime
    end: datetime
    lanes: list[ChartRow]

    @property
    def length(self) -> str:
        """How much time it shows."""
        return format_time((self.end - self.begin).total_seconds())

    @property
    def half(self) -> str:
        """What stands in the middle of the axis."""
        return format_time((self.end - self.begin).total_seconds() / 2)


class _Axis:
    def __init__(self, begin: datetime, end: datetime) -> None:
        self.begin = begin
        self.end = max(end, begin + timedelta(milliseconds=1))

    def bar(self, start: datetime, end: datetime, kind: str, what: str) -> ChartBar:
        """Return the bar of a stretch, cut to the axis."""
        x = self._place(start)
        width = max(_LEAST, self._place(end) - x)
        took = format_time((end - start).total_seconds())
        title = f"{what}, {took}"
        return ChartBar(x=min(x, WIDTH - width), width=width, kind=kind, title=title)

    def _place(self, at: datetime) -> int:
        share = (at - self.begin) / (self.end - self.begin)
        return round(WIDTH * min(1.0, max(0.0, share)))


def build_charts(facts: JobTimeline, *, now: datetime) -> list[Chart]:
    """Return the job's own life, and how it was told of, which may take days."""
    job = facts.job
    charts = []
    axis = _Axis(job.created_at, job.finished_at or now)
    life = [ChartRow(label="Job", bars=_moves(facts.moves, axis))]
    life += [_call_lane(call, axis, n) for n, call in enumerate(facts.calls, 1)]
    charts.append(Chart(begin=axis.begin, end=axis.end, lanes=life))
    if facts.deliveries:
        charts.append(_tell(facts.deliveries, now=now))
    return charts


def _moves(moves: Sequence[tuple[datetime, str]], axis: _Axis) -> list[ChartBar]:
    """Return a bar for each status that it was in; audit events are none."""
    known = [(at, name) for at, name in moves if name in set(JobStatus)]
    bars: list[ChartBar] = []
    for (at, name), (until, _) in zip(known, [*known[1:], (axis.end, "")], strict=True):
        kind = "retry" if name == JobStatus.QUEUED and bars else name
        if name not in FINAL:
            bars.append(axis.bar(at, until, kind, name))
    return bars


def _call_lane(call: TimelineCall, axis: _Axis, number: int) -> ChartRow:
    attempt = call.attempt
    end = attempt.finished_at or axis.end
    what = f"{attempt.region_id}, {attempt.outcome} {attempt.error_code}".strip()
    bar = axis.bar(attempt.started_at, end, _kind(attempt.outcome), what)
    return ChartRow(label=f"Call {number}, {attempt.region_id}", bars=[bar])


def _kind(outcome: str) -> str:
    kinds = {Attempt.Outcome.OK: "completed", Attempt.Outcome.OPEN: "processing"}
    return {str(k): v for k, v in kinds.items()}.get(outcome, "failed")


def _tell(deliveries: Iterable[TimelineDelivery], *, now: datetime) -> Chart:
    told = list(deliveries)
    begin = min(each.delivery.created_at for each in told)
    end = max(each.delivery.finished_at or now for each in told)
    for each in told:
        for one in each.tries:
            end = max(end, one.started_at + timedelta(milliseconds=one.duration_ms))
    axis = _Axis(begin, end)
    lanes = [
        ChartRow(label=each.delivery.event.type, bars=_tries(each, axis))
        for each in told
    ]
    return Chart(begin=begin, end=axis.end, lanes=lanes)


def _tries(told: TimelineDelivery, axis: _Axis) -> list[ChartBar]:
    delivery = told.delivery
    until = delivery.finished_at or axis.end
    bars = [axis.bar(delivery.created_at, until, "queued", f"on its way to {told.to}")]
    for one in told.tries:
        end = one.started_at + timedelta(milliseconds=one.duration_ms)
        is_good = (one.status_code or 0) // 100 == _GOOD
        kind = "completed" if is_good else "failed"
        bars.append(
            axis.bar(one.started_at, end, kind, f"{one.status_code or one.error}")
        )
    return bars


def format_time(seconds: float) -> str:
    """Return a length of time as people say it: 850 ms, 4.2 s, 3 min 5 s, 2 h 3 min."""
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < _MINUTE:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), _MINUTE)
    if minutes < _MINUTE:
        return f"{minutes} min {rest} s"
    hours, minutes = divmod(minutes, 60)
    if hours < _HOURS_SAID:
        return f"{hours} h {minutes} min"
    return f"{hours // 24} d {hours % 24} h"
