"""Probe each region's API and key with a free call.

`GET /v1/projects` is Deepgram's cheapest authenticated call. The result updates the
region's circuit breaker before a job fails, and resumes a region that was paused for a
rejected key. It does not show credit: that pause ends with a successful job.
"""

import logging
from datetime import datetime

import h11
import httpx
from deepgram.core.api_error import ApiError

from jobs.models import Region
from jobs.routing import regions
from workers.deepgram import client, errors
from workers.egress import network
from workers.ratelimit.permits import get_permits

logger = logging.getLogger(__name__)

PROBE_SECONDS = 5.0
OUT_OF_CREDIT = "upstream_out_of_credit"


def probe_regions(*, now: datetime) -> None:
    """Probe all enabled regions, one after the other."""
    for region in Region.objects.filter(is_enabled=True).order_by("name"):
        probe_region(region, now=now)


def probe_region(region: Region, *, now: datetime) -> None:
    """Probe one region.

    Pauses it if the key is rejected; records a failure in its circuit breaker if it
    does not respond.
    """
    breaker = get_permits().breaker
    try:
        with network.deadline(PROBE_SECONDS):
            client.get_region_client(region).manage.v1.projects.list()
    except ApiError as error:
        status = error.status_code or 0
        rejection = errors.from_response(status, error.headers or {}, error.body)
        if status in {401, 403}:
            regions.pause_region(name=region.name, reason=rejection.code, now=now)
        else:
            breaker.record(region.name, well=status < 500)  # noqa: PLR2004
        return
    except (httpx.HTTPError, h11.ProtocolError, OSError):
        logger.warning("region does not respond", extra={"region": region.name})
        breaker.record(region.name, well=False)
        return
    finally:
        client.pop_response()
    breaker.record(region.name, well=True)
    if region.paused_reason and region.paused_reason != OUT_OF_CREDIT:
        regions.apply_action(name=region.name, action="resume", now=now)
