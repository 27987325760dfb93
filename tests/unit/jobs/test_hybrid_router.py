import pytest

from jobs.routing.hybrid_router import (
    Facts,
    Reason,
    Source,
    Thresholds,
    Way,
    choose_route,
)

SEEDS = Thresholds(sync_below=60, async_above=300)


@pytest.mark.parametrize(
    ("asked", "seconds", "way", "reason"),
    [
        (None, 0.0, Way.SYNC, Reason.SHORT),
        (None, 59.9, Way.SYNC, Reason.SHORT),
        (None, 60.0, Way.SYNC, Reason.MEDIUM),
        (None, 300.0, Way.SYNC, Reason.MEDIUM),
        (None, 300.1, Way.ASYNC, Reason.LONG),
        (None, 36_000.0, Way.ASYNC, Reason.LONG),
        (None, None, Way.SYNC, Reason.UNKNOWN),
        (Way.SYNC, 36_000.0, Way.SYNC, Reason.ASKED),
        (Way.ASYNC, 1.0, Way.ASYNC, Reason.ASKED),
        (Way.ASYNC, None, Way.ASYNC, Reason.ASKED),
        (Way.STREAM, None, Way.STREAM, Reason.ASKED),
    ],
)
def test_an_explicit_mode_wins_and_then_the_length(asked, seconds, way, reason):
    facts = Facts(asked=asked, duration_seconds=seconds, source=Source.REQUEST)

    route = choose_route(facts, SEEDS)

    assert (route.way, route.reason) == (way, reason)


def test_a_route_tells_what_it_was_chosen_by():
    facts = Facts(duration_seconds=12.5, source=Source.UPLOAD)

    assert choose_route(facts, SEEDS).describe() == {
        "mode": "sync",
        "reason": "short",
        "duration_seconds": 12.5,
        "source": "upload_probe",
        "thresholds": {"sync_below_seconds": 60, "async_above_seconds": 300},
    }
