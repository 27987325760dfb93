"""Ask each upstream, at no cost, whether it answers and takes our key.

`GET /v1/projects` is Deepgram's cheapest authenticated call. The answer feeds the
region's circuit breaker, so that trouble shows before a job meets it, and ends the
pause of a region whose key was refused. Credit is not seen here: that pause ends by
trying.
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
    """Probe every enabled region, one after the other."""
    for region in Region.objects.filter(is_enabled=True).order_by("name"):
        probe_region(region, now=now)


def probe_region(region: Region, *, now: datetime) -> None:
    """Probe one region.

    One that refuses our key is paused; one that does not answer counts against its
    breaker.
    """
    breaker = get_permits().breaker
    try:
        with network.deadline(PROBE_SECONDS):
            client.get_region_client(region).manage.v1.projects.list()
    except ApiError as error:
        status = error.status_code or 0
        refused = errors.from_answer(status, error.headers or {}, error.body)
        if status in {401, 403}:
            regions.pause_region(name=region.name, reason=refused.code, now=now)
        else:
            breaker.record(region.name, well=status < 500)  # noqa: PLR2004
        return
    except (httpx.HTTPError, h11.ProtocolError, OSError):
        logger.warning("region does not answer", extra={"region": region.name})
        breaker.record(region.name, well=False)
        return
    finally:
        client.take_answer()
    breaker.record(region.name, well=True)
    if region.paused_reason and region.paused_reason != OUT_OF_CREDIT:
        regions.steer_region(name=region.name, action="resume", now=now)
