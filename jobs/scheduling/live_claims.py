"""Live jobs: started in the commit that inserts them, and never queued.

A live session's audio cannot be sent again, so its job is never requeued. Its calls
follow one another under the same job until its process or its deadline ends it.
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
from jobs.scheduling.direct_claims import NoCapacitySoon, StreamShareExhausted
from jobs.services import JobDraft
from jobs.state import JobStatus
from jobs.telemetry import tracing

# Sessions last minutes, so a permit seldom becomes free sooner.
RETRY_AFTER_SECONDS = 5


def start_live_job(
    *,
    tenant: Tenant,
    api_key: ApiKey | None,
    draft: JobDraft,
    permits: Permits,
    worker: str,
    now: datetime,
) -> tuple[Job, Attempt]:
    """Insert a live job and start its first call, in a region with a free permit.

    Raises LimitExceeded or ServiceUnavailable without one, and inserts nothing.
    """
    job = services.build_job(tenant=tenant, api_key=api_key, draft=draft, now=now)
    job.mode, job.ready = Mode.LIVE, False
    try:
        region = direct_claims.acquire_permit(job, permits=permits, now=now)
    except NoCapacitySoon as error:
        raise _build_refusal(job, now=now) from error
    except StreamShareExhausted as error:
        raise _build_limit_error(error.share) from error
    if region is None:
        message = "All live sessions of the platform are in use."
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


def start_next_call(
    job: Job, *, prefer_other_region: bool, permits: Permits, worker: str, now: datetime
) -> tuple[Job, Attempt] | None:
    """Start another call of a live job after a disconnect; None without a permit.

    The caller releases the old call's permit. Raises StaleJobState if another claim
    has the job.
    """
    region = _choose_region(
        job, prefer_other_region=prefer_other_region, permits=permits, now=now
    )
    if region is None:
        return None
    try:
        return _start_next(job, region=region, worker=worker, now=now)
    except BaseException:
        permits.release(region.name, [next_permit_of(job)])
        raise


def _choose_region(
    job: Job, *, prefer_other_region: bool, permits: Permits, now: datetime
) -> Region | None:
    snapshot = capacity.read_capacity(now=now)
    regions = direct_claims.find_regions_for(job, snapshot)
    here = next((each for each in regions if each.name == job.region_id), None)
    if here is None or prefer_other_region:
        other = _acquire_in_other_region(job, permits=permits, now=now)
        if other is not None:
            return other
    if here is not None:  # the new call replaces the old one: no free permit needed
        permits.renew(here.name, [next_permit_of(job)])
    return here


def _acquire_in_other_region(
    job: Job, *, permits: Permits, now: datetime
) -> Region | None:
    try:
        return direct_claims.acquire_permit(
            job, permits=permits, now=now, excluded_region=job.region_id or ""
        )
    except (NoCapacitySoon, StreamShareExhausted):
        return None


def _start_next(
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


def _build_refusal(job: Job, *, now: datetime) -> LimitExceeded | ServiceUnavailable:
    """Build the error that explains a NoCapacitySoon."""
    tenant = Tenant.objects.get(pk=job.tenant_id)
    if tenant.is_paused:
        return LimitExceeded("Your account is paused.", code="account_paused")
    if tenant.max_in_flight is not None:
        sessions = capacity.read_capacity(now=now).by_tenant(live=True)[tenant.pk]
        if sessions >= tenant.max_in_flight:
            return _build_limit_error(tenant.max_in_flight)
    return ServiceUnavailable("No region accepts live sessions now.")


def _build_limit_error(share: int) -> LimitExceeded:
    return LimitExceeded(
        f"Your account is limited to {share} concurrent live sessions.",
        code="stream_limit_reached",
        retry_after=RETRY_AFTER_SECONDS,
    )
