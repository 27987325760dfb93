"""Write batches without the API."""

from datetime import datetime

from jobs import services
from jobs.batches import records
from jobs.batches.records import BatchDraft
from jobs.models import ApiKey, Batch, Tenant


def submit_batch(
    *, tenant: Tenant, api_key: ApiKey | None, draft: BatchDraft, now: datetime
) -> Batch:
    """Save a batch and the jobs of its drafts in one transaction."""
    jobs = [
        services.build_job(tenant=tenant, api_key=api_key, draft=each, now=now)
        for each in draft.jobs
    ]
    batch = records.build_batch(tenant=tenant, api_key=api_key, draft=draft, now=now)
    return records.write_batch(batch, jobs)
