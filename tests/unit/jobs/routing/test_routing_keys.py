import pytest

from jobs.routing.routing_keys import (
    build_routing_key,
    can_run,
    parse_pools,
    parse_regions,
)


@pytest.mark.parametrize(
    ("regions", "options", "configured", "lane"),
    [
        ([], {}, [], "*"),
        (["us", "eu"], {}, [], "eu+us"),
        ([], {"diarize": True}, [], "*"),
        ([], {"diarize": True}, ["diarize"], "*/diarize"),
        ([], {"diarize": False}, ["diarize"], "*"),
        (
            ["eu"],
            {"diarize": True, "topics": True},
            ["diarize", "summarize"],
            "eu/diarize+summarize",
        ),
    ],
)
def test_a_lane_names_regions_and_configured_pools(regions, options, configured, lane):
    built = build_routing_key(regions=regions, options=options, configured=configured)

    assert built == lane
    assert parse_regions(built) == frozenset(regions)
    assert all(pool in configured for pool in parse_pools(built))


@pytest.mark.parametrize(
    ("lane", "region", "pinned", "may"),
    [
        ("*", "us", [], True),
        ("eu", "us", [], False),
        ("eu+us/diarize", "us", [], True),
        ("*", "us", ["eu"], False),
        ("*", "eu", ["eu"], True),
        ("us", "us", ["eu"], True),
        ("eu+us", "us", ["eu"], False),
    ],
)
def test_residency_is_never_violated_and_pins_bind_who_may_go_there(
    lane, region, pinned, may
):
    assert can_run(lane, region, pinned=pinned) is may
