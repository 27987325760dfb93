"""Sums of past minutes: read once, when they do not change any more."""

import time
from datetime import UTC, datetime, timedelta

from workers.monitoring.time_buckets import TimeBuckets

NOON = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def make(value_of):
    asked = []

    def load(since, until):
        asked.append((since - NOON, until - NOON))
        slots = (until - since) // MINUTE
        return {since + n * MINUTE: value_of() for n in range(slots)}

    return TimeBuckets(load, step=MINUTE, settled_after=MINUTE), asked


def test_only_what_may_still_change_is_read_again():
    values = iter(range(100))
    slots, asked = make(lambda: next(values))
    now = NOON + timedelta(seconds=30)

    first = slots.read(NOON - 3 * MINUTE, now=now)
    again = slots.read(NOON - 3 * MINUTE, now=now)

    assert list(first) == [NOON + n * MINUTE for n in (-3, -2, -1, 0)]
    assert list(first.values()) == [0, 1, 2, 3]
    assert list(again.values()) == [0, 1, 4, 5]
    assert asked == [(-3 * MINUTE, MINUTE), (-1 * MINUTE, MINUTE)]


def test_time_goes_on_and_what_is_out_of_sight_is_forgotten():
    slots, asked = make(lambda: "x")

    slots.read(NOON - 3 * MINUTE, now=NOON)
    later = slots.read(NOON + 7 * MINUTE, now=NOON + 9 * MINUTE)
    back = slots.read(NOON - 3 * MINUTE, now=NOON + 9 * MINUTE)

    assert list(later) == [NOON + n * MINUTE for n in (7, 8, 9)]
    assert asked[1] == (7 * MINUTE, 10 * MINUTE)
    assert asked[2] == (-3 * MINUTE, 10 * MINUTE)
    assert len(back) == 13


def test_a_slot_without_rows_is_kept_as_nothing():
    asked = []
    slots = TimeBuckets(
        lambda since, until: asked.append(since) or {},
        step=MINUTE,
        settled_after=MINUTE,
    )

    assert set(slots.read(NOON - 2 * MINUTE, now=NOON).values()) == {None}
    slots.read(NOON - 2 * MINUTE, now=NOON)
    slots.forget()
    slots.read(NOON - 2 * MINUTE, now=NOON)

    assert [at - NOON for at in asked] == [-2 * MINUTE, -1 * MINUTE, -2 * MINUTE]


def test_a_long_look_is_made_in_several_newest_first():
    slots, asked = make(lambda: "x")
    now = NOON + timedelta(seconds=30)

    looks = [slots.read_some(NOON - 4 * MINUTE, now=now, seconds=0) for _ in range(3)]

    # What may still change is read once for all of them, and of the rest one each time.
    assert [len(look) for look in looks] == [3, 4, 5]
    assert asked == [
        (-1 * MINUTE, MINUTE),
        *((n * MINUTE, (n + 1) * MINUTE) for n in (-2, -3, -4)),
    ]


def test_what_may_still_change_is_read_again_after_a_while(monkeypatch):
    values, clock = iter("ab"), [0.0]
    slots, _ = make(lambda: next(values))
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    seen = []
    for at in (0.0, 14.0, 16.0):
        clock[0] = at
        seen += slots.read_some(NOON, now=NOON, seconds=0).values()

    assert seen == ["a", "a", "b"]
