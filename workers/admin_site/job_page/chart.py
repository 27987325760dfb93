"""Builds the timeline charts: rows of bars, in thousandths of the width."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from jobs.models import Attempt
from jobs.state import FINAL, JobStatus
from workers.admin_site.job_page.timeline import (
    JobTimeline,
    TimelineCall,
    TimelineDelivery,
)

WIDTH = 1000
# Minimum width, so that short events are visible.
_MIN_WIDTH = 4
_MINUTE = 60
_MAX_HOURS = 48
# First digit of success statuses.
_SUCCESS = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class ChartBar:
    """A bar of a row; ``kind`` determines its color."""

    x: int
    width: int
    kind: str
    title: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ChartRow:
    """A labeled row of bars."""

    label: str
    bars: list[ChartBar]


@dataclass(slots=True)
class Chart:
    """Rows with a common time axis."""

    begin: datetime
    end: datetime
    rows: list[ChartRow] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.end = max(self.end, self.begin + timedelta(milliseconds=1))

    @property
    def length(self) -> str:
        """Return the duration of the axis, formatted."""
        return format_duration((self.end - self.begin).total_seconds())

    @property
    def half(self) -> str:
        """Return the label of the middle of the axis."""
        return format_duration((self.end - self.begin).total_seconds() / 2)

    def bar(self, start: datetime, end: datetime, kind: str, label: str) -> ChartBar:
        """Return the bar of a period, clipped to the axis."""
        x = self._scale(start)
        width = max(_MIN_WIDTH, self._scale(end) - x)
        duration = format_duration((end - start).total_seconds())
        title = f"{label}, {duration}"
        return ChartBar(x=min(x, WIDTH - width), width=width, kind=kind, title=title)

    def _scale(self, at: datetime) -> int:
        share = (at - self.begin) / (self.end - self.begin)
        return round(WIDTH * min(1.0, max(0.0, share)))


def build_charts(job_timeline: JobTimeline, *, now: datetime) -> list[Chart]:
    """Return the chart of the job, and of its webhooks, which can take days."""
    job = job_timeline.job
    chart = Chart(job.created_at, job.finished_at or now)
    chart.rows = [ChartRow(label="Job", bars=_status_bars(job_timeline.moves, chart))]
    for number, call in enumerate(job_timeline.calls, 1):
        chart.rows.append(_call_row(call, chart, number))
    if not job_timeline.deliveries:
        return [chart]
    return [chart, _delivery_chart(job_timeline.deliveries, now=now)]


def _status_bars(moves: Sequence[tuple[datetime, str]], chart: Chart) -> list[ChartBar]:
    """Return a bar for each status of the job; audit events have none."""
    known = [(at, name) for at, name in moves if name in set(JobStatus)]
    bars: list[ChartBar] = []
    for (at, name), (until, _) in zip(
        known, [*known[1:], (chart.end, "")], strict=True
    ):
        kind = "retry" if name == JobStatus.QUEUED and bars else name
        if name not in FINAL:
            bars.append(chart.bar(at, until, kind, name))
    return bars


def _call_row(call: TimelineCall, chart: Chart, number: int) -> ChartRow:
    attempt = call.attempt
    end = attempt.finished_at or chart.end
    label = f"{attempt.region_id}, {attempt.outcome} {attempt.error_code}".strip()
    bar = chart.bar(attempt.started_at, end, _kind(attempt.outcome), label)
    return ChartRow(label=f"Call {number}, {attempt.region_id}", bars=[bar])


def _kind(outcome: str) -> str:
    kinds = {Attempt.Outcome.OK: "completed", Attempt.Outcome.OPEN: "processing"}
    return {str(k): v for k, v in kinds.items()}.get(outcome, "failed")


def _delivery_chart(items: Iterable[TimelineDelivery], *, now: datetime) -> Chart:
    deliveries = list(items)
    begin = min(item.delivery.created_at for item in deliveries)
    end = max(item.delivery.finished_at or now for item in deliveries)
    for item in deliveries:
        for attempt in item.attempts:
            duration = timedelta(milliseconds=attempt.duration_ms)
            end = max(end, attempt.started_at + duration)
    chart = Chart(begin, end)
    chart.rows = [
        ChartRow(label=item.delivery.event.type, bars=_attempt_bars(item, chart))
        for item in deliveries
    ]
    return chart


def _attempt_bars(item: TimelineDelivery, chart: Chart) -> list[ChartBar]:
    delivery = item.delivery
    until = delivery.finished_at or chart.end
    bars = [chart.bar(delivery.created_at, until, "queued", f"pending to {item.url}")]
    for attempt in item.attempts:
        end = attempt.started_at + timedelta(milliseconds=attempt.duration_ms)
        is_success = (attempt.status_code or 0) // 100 == _SUCCESS
        kind = "completed" if is_success else "failed"
        bars.append(
            chart.bar(
                attempt.started_at, end, kind, f"{attempt.status_code or attempt.error}"
            )
        )
    return bars


def format_duration(seconds: float) -> str:
    """Return a duration as text: 850 ms, 4.2 s, 3 min 5 s, 2 h 3 min, 2 d 3 h."""
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < _MINUTE:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), _MINUTE)
    if minutes < _MINUTE:
        return f"{minutes} min {rest} s"
    hours, minutes = divmod(minutes, 60)
    if hours < _MAX_HOURS:
        return f"{hours} h {minutes} min"
    return f"{hours // 24} d {hours % 24} h"
