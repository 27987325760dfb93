import pytest

from jobs.routing.routing_keys import build_lane, may_run, pools_of, regions_of


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
    built = build_lane(regions=regions, options=options, configured=configured)

    assert built == lane
    assert regions_of(built) == frozenset(regions)
    assert all(pool in configured for pool in pools_of(built))


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
    assert may_run(lane, region, pinned=pinned) is may
