"""Live jobs: they begin in the commit that writes them, and are never in the queue.

Nobody can say a live session's audio again, so nothing takes it back: its calls follow
one another under the same job until its process, or time, ends it.
"""

from datetime import datetime

from django.db import transaction
from django.db.models import F
from django.db.models.functions import Now

from jobs import services
from jobs.errors import LimitExceeded, ServiceUnavailable, StaleJobState
from jobs.models import ApiKey, Attempt, Job, Mode, Region, Tenant
from jobs.scheduling import capacity, direct_claims
from jobs.scheduling.claims import Permits, next_permit_of
from jobs.scheduling.direct_claims import NoCapacitySoon, ShareTaken
from jobs.services import JobDraft
from jobs.state import JobStatus
from jobs.telemetry import tracing

# Sessions last minutes: sooner than this a place is seldom free again.
RETRY_AFTER_SECONDS = 5


def begin_stream(
    *,
    tenant: Tenant,
    api_key: ApiKey | None,
    draft: JobDraft,
    permits: Permits,
    worker: str,
    now: datetime,
) -> tuple[Job, Attempt]:
    """Write a live job that runs from the first moment on, where it has a place.

    Raises LimitExceeded or ServiceUnavailable when there is none, with nothing written.
    """
    job = services.build_job(tenant=tenant, api_key=api_key, draft=draft, now=now)
    job.mode, job.ready = Mode.LIVE, False
    try:
        region = direct_claims.acquire_permit(job, permits=permits, now=now)
    except NoCapacitySoon as error:
        raise _explain(job, now=now) from error
    except ShareTaken as error:
        raise _share_taken(error.share) from error
    if region is None:
        message = "Every place for a live session is taken."
        raise LimitExceeded(
            message, code="no_stream_place", retry_after=RETRY_AFTER_SECONDS
        )
    return direct_claims.start_directly(
        job,
        region=region,
        permits=permits,
        worker=worker,
        write=lambda: services.insert_jobs([job], api_key=api_key, now=now),
    )


def begin_next_call(
    job: Job, *, elsewhere: bool, permits: Permits, worker: str, now: datetime
) -> tuple[Job, Attempt] | None:
    """Begin another call of a live job whose last one broke, or None without a place.

    In the same region its place goes over to the new call; ``elsewhere`` prefers any
    other. Whoever holds the old call's permit gives it back. Raises StaleJobState when
    the job is not this claim's any more.
    """
    region = _choose_region(job, elsewhere=elsewhere, permits=permits, now=now)
    if region is None:
        return None
    try:
        return _begin_next(job, region=region, worker=worker, now=now)
    except BaseException:
        permits.release(region.name, [next_permit_of(job)])
        raise


def _choose_region(
    job: Job, *, elsewhere: bool, permits: Permits, now: datetime
) -> Region | None:
    snapshot = capacity.read_capacity(now=now)
    open_to_it = direct_claims.find_regions_for(job, snapshot, now=now)
    here = next((each for each in open_to_it if each.name == job.region_id), None)
    if here is None or elsewhere:
        other = _take_elsewhere(job, permits=permits, now=now)
        if other is not None:
            return other
    if here is not None:
        permits.renew(here.name, [next_permit_of(job)])
    return here


def _take_elsewhere(job: Job, *, permits: Permits, now: datetime) -> Region | None:
    try:
        return direct_claims.acquire_permit(
            job, permits=permits, now=now, but_in=job.region_id or ""
        )
    except (NoCapacitySoon, ShareTaken):
        return None


def _begin_next(
    job: Job, *, region: Region, worker: str, now: datetime
) -> tuple[Job, Attempt]:
    with transaction.atomic():
        moved = Job.objects.filter(
            pk=job.pk, lease_token=job.lease_token, status=JobStatus.PROCESSING
        ).update(
            region=region,
            worker=worker,
            lease_token=F("lease_token") + 1,
            lease_until=Now() + services.lease_time(),
            attempt=F("attempt") + 1,
        )
        if not moved:
            raise StaleJobState
        current = Job.objects.get(pk=job.pk)
        attempt = Attempt.objects.create(
            job=current,
            tenant_id=current.tenant_id,
            model=str(current.options.get("model", ""))[:100],
            trace_id=tracing.trace_id_of(current.traceparent),
            lease_token=current.lease_token,
            region=region,
            worker=worker,
            started_at=now,
        )
    return current, attempt


def _explain(job: Job, *, now: datetime) -> LimitExceeded | ServiceUnavailable:
    """Say why no place will come soon."""
    tenant = Tenant.objects.get(pk=job.tenant_id)
    if tenant.is_paused:
        return LimitExceeded("Your account is paused.", code="account_paused")
    if tenant.max_in_flight is not None:
        taken = capacity.read_capacity(now=now).by_tenant(live=True)[tenant.pk]
        if taken >= tenant.max_in_flight:
            return _share_taken(tenant.max_in_flight)
    return ServiceUnavailable("No region can take a live session now.")


def _share_taken(share: int) -> LimitExceeded:
    return LimitExceeded(
        f"Your account may have {share} live sessions at once.",
        code="stream_limit_reached",
        retry_after=RETRY_AFTER_SECONDS,
    )
