from datetime import UTC, datetime, timedelta

import pytest

from jobs.models import Region
from jobs.routing import regions
from workers.deepgram import probe
from workers.ratelimit.breaker import NO_LIMIT
from workers.ratelimit.permits import get_permits

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("broker")]
NOW = datetime.now(UTC)


@pytest.fixture
def region(emulator, settings) -> Region:
    settings.DEEPGRAM_API_KEY = "test-key"
    return Region.objects.create(name="local", base_url=emulator.url)


def test_a_mended_key_ends_the_pause(region):
    regions.pause_region(name="local", reason="upstream_credentials_refused", now=NOW)

    probe.probe_regions(now=NOW)

    region.refresh_from_db()
    assert (region.paused_until, region.paused_reason) == (None, "")


def test_an_empty_account_is_not_taken_for_a_full_one(region):
    regions.pause_region(name="local", reason="upstream_out_of_credit", now=NOW)

    probe.probe_regions(now=NOW)

    region.refresh_from_db()
    assert region.paused_reason == "upstream_out_of_credit"


def test_a_refused_key_pauses_the_region_before_a_job_meets_it(region, settings):
    settings.DEEPGRAM_API_KEY = "bad-key"

    probe.probe_regions(now=NOW)

    region.refresh_from_db()
    assert region.paused_reason == "upstream_credentials_refused"
    assert region.paused_until > NOW + timedelta(seconds=30)


def test_an_upstream_that_is_away_opens_its_breaker(region):
    region.base_url = "http://127.0.0.1:9"
    region.save()

    for _ in range(10):
        probe.probe_regions(now=NOW)

    breaker = get_permits().breaker
    assert breaker.allow("local") == 0
    breaker.record("local", well=True)
    assert breaker.allow("local") == NO_LIMIT
