import pytest

from jobs.routing.hybrid_router import (
    DurationSource,
    RequestFacts,
    RouteMode,
    RouteReason,
    Thresholds,
    choose_route,
)

SEEDS = Thresholds(sync_below=60, async_above=300)


@pytest.mark.parametrize(
    ("asked", "seconds", "way", "reason"),
    [
        (None, 0.0, RouteMode.SYNC, RouteReason.SHORT),
        (None, 59.9, RouteMode.SYNC, RouteReason.SHORT),
        (None, 60.0, RouteMode.SYNC, RouteReason.MEDIUM),
        (None, 300.0, RouteMode.SYNC, RouteReason.MEDIUM),
        (None, 300.1, RouteMode.ASYNC, RouteReason.LONG),
        (None, 36_000.0, RouteMode.ASYNC, RouteReason.LONG),
        (None, None, RouteMode.SYNC, RouteReason.UNKNOWN),
        (RouteMode.SYNC, 36_000.0, RouteMode.SYNC, RouteReason.EXPLICIT),
        (RouteMode.ASYNC, 1.0, RouteMode.ASYNC, RouteReason.EXPLICIT),
        (RouteMode.ASYNC, None, RouteMode.ASYNC, RouteReason.EXPLICIT),
        (RouteMode.STREAM, None, RouteMode.STREAM, RouteReason.EXPLICIT),
    ],
)
def test_an_explicit_mode_wins_and_then_the_length(asked, seconds, way, reason):
    facts = RequestFacts(
        mode=asked, duration_seconds=seconds, source=DurationSource.REQUEST
    )

    route = choose_route(facts, SEEDS)

    assert (route.mode, route.reason) == (way, reason)


def test_a_route_tells_what_it_was_chosen_by():
    facts = RequestFacts(duration_seconds=12.5, source=DurationSource.UPLOAD)

    assert choose_route(facts, SEEDS).describe() == {
        "mode": "sync",
        "reason": "short",
        "duration_seconds": 12.5,
        "source": "upload_probe",
        "thresholds": {"sync_below_seconds": 60, "async_above_seconds": 300},
    }
