"""What operators have done to jobs, batches, tenants and regions, through the services.

Each is what the API or a command would do, by the same rules, with the operator's name
in the audit.
"""

from datetime import datetime, timedelta
from typing import Any

from django import forms
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse

from jobs import services
from jobs.accounts import audit, keys
from jobs.accounts.caller import Caller
from jobs.admin.actions import Action, confirmed
from jobs.api.keys.serializers import DEFAULT_OVERLAP_SECONDS
from jobs.batches import actions as batch_actions
from jobs.batches import retry
from jobs.models import ApiKey, Batch, Job, Priority, Region, Tenant
from jobs.rest.idempotency import StoredResponse
from jobs.retention import erasure
from jobs.routing import regions
from jobs.scheduling import dispatch
from jobs.state import JobStatus


class PriorityForm(forms.Form):
    """How soon its turn is to come."""

    priority = forms.TypedChoiceField(
        choices=Priority.choices, coerce=int, initial=Priority.NORMAL
    )


def _cancel(job: Job, *, actor: str, now: datetime) -> Job:
    return services.cancel_job(job=job, now=now, actor=actor)


def _retry(job: Job, *, actor: str, now: datetime) -> Job:
    with transaction.atomic():
        again = services.retry_job(job=job, api_key=None, now=now)
        audit.record(
            type="job.retried",
            actor=actor,
            at=now,
            tenant=job.tenant,
            job=again,
            retry_of=str(job.pk),
        )
        transaction.on_commit(dispatch.wake)
    return again


def _reprioritize(job: Job, *, actor: str, now: datetime, priority: int) -> Job:
    with transaction.atomic():
        moved = services.reprioritize_job(
            job=job, priority=priority, now=now, actor=actor
        )
        # The job's own event is one of those that no audit shows.
        audit.record(
            type="job.reprioritized",
            actor=actor,
            at=now,
            tenant=job.tenant,
            job=job,
            priority=priority,
        )
    return moved


def _erase(job: Job, *, actor: str, now: datetime) -> Job:
    return erasure.erase_job(job=job, actor=actor, now=now).job


def _pause_tenant(tenant: Tenant, *, actor: str, now: datetime) -> None:
    services.pause_tenant(tenant=tenant, now=now, actor=actor)


def _resume_tenant(tenant: Tenant, *, actor: str, now: datetime) -> None:
    services.resume_tenant(tenant=tenant, now=now, actor=actor)
    dispatch.wake()


def _pause_batch(batch: Batch, *, actor: str, now: datetime) -> Batch:
    return batch_actions.pause(batch=batch, actor=actor, now=now)


def _resume_batch(batch: Batch, *, actor: str, now: datetime) -> Batch:
    resumed = batch_actions.resume(batch=batch, actor=actor, now=now)
    dispatch.wake()
    return resumed


def _cancel_batch(batch: Batch, *, actor: str, now: datetime) -> Batch:
    canceled = batch_actions.cancel(batch=batch, actor=actor, now=now)
    dispatch.wake()
    return canceled


def _reprioritize_batch(
    batch: Batch, *, actor: str, now: datetime, priority: int
) -> Batch:
    return batch_actions.reprioritize(
        batch=batch, priority=priority, actor=actor, now=now
    )


def _retry_batch(batch: Batch, *, actor: str, now: datetime) -> None:
    def answer(child: Batch) -> StoredResponse:
        # In the transaction that writes the batch.
        audit.record(
            type="batch.retried",
            actor=actor,
            at=now,
            tenant=batch.tenant,
            batch_id=str(child.pk),
            retry_of=str(batch.pk),
        )
        return StoredResponse(status_code=202, body={})

    retry.accept_retry(
        caller=Caller(tenant=batch.tenant, api_key=None),
        again=retry.RetryRequest(batch=batch, statuses={JobStatus.FAILED}),
        answer=answer,
        now=now,
    )


def _revoke_key(key: ApiKey, *, actor: str, now: datetime) -> None:
    keys.revoke_key(key=key, actor=actor, now=now)


def _rotate_key(key: ApiKey, *, actor: str, now: datetime) -> tuple[ApiKey, str]:
    rotation = keys.KeyRotationRequest(
        overlap=timedelta(seconds=DEFAULT_OVERLAP_SECONDS)
    )
    return keys.rotate_key(key=key, rotation=rotation, actor=actor, now=now)


def show_keys(
    page: Any, request: HttpRequest, issued: list[tuple[ApiKey, str]]
) -> HttpResponse:
    """Show the texts of new keys, once."""
    context = {**page.admin_site.each_context(request), "issued": issued}
    answer = TemplateResponse(request, "admin/jobs/keys_issued.html", context)
    answer.headers["Cache-Control"] = "no-store"
    return answer


JOB_ACTIONS = [
    Action(
        name="cancel",
        label="Cancel",
        says="Nothing more is started of them; a call under way is let go and its"
        " result dropped. Their customers are told. What has ended is refused.",
        do=_cancel,
    ),
    Action(
        name="retry",
        label="Retry, as new jobs",
        says="Each that has ended is submitted again as a new job, which is paid for"
        " again. What has not ended, or whose audio is gone, is refused.",
        do=_retry,
    ),
    Action(
        name="reprioritize",
        label="Change priority",
        says="They move within their own tenant's queue from the next tick on. What is"
        " not waiting is refused.",
        do=_reprioritize,
        form=PriorityForm,
    ),
    Action(
        name="erase",
        label="Erase, for good",
        says="Audio, transcript, messages and all that the customer sent are erased and"
        " cannot be brought back; times, status and cost stay. What has not ended is"
        " refused.",
        do=_erase,
        permission="erase",
        is_final=True,
    ),
]
TENANT_ACTIONS = [
    Action(
        name="pause",
        label="Pause",
        says="Nothing more of them is claimed. What runs ends; jobs are still accepted"
        " and wait.",
        do=_pause_tenant,
    ),
    Action(
        name="resume",
        label="Resume",
        says="Their jobs are claimed again from the next tick on.",
        do=_resume_tenant,
    ),
]
BATCH_ACTIONS = [
    Action(
        name="pause",
        label="Pause",
        says="No more of their jobs are started; what runs ends.",
        do=_pause_batch,
    ),
    Action(
        name="resume",
        label="Resume",
        says="Their waiting jobs may run again.",
        do=_resume_batch,
    ),
    Action(
        name="cancel",
        label="Cancel the rest",
        says="All of their jobs that have not ended are canceled, those that run too:"
        " a thousand at a time, within seconds. Their customers are told.",
        do=_cancel_batch,
        is_final=True,
    ),
    Action(
        name="reprioritize",
        label="Change priority",
        says="All of their waiting jobs get this priority, a thousand at a time.",
        do=_reprioritize_batch,
        form=PriorityForm,
    ),
    Action(
        name="retry_failed",
        label="Retry what failed",
        says="The failed jobs of each are submitted again as a new batch, which is paid"
        " for again. A batch that has not ended is refused.",
        do=_retry_batch,
    ),
]
KEY_ACTIONS = [
    Action(
        name="revoke",
        label="Revoke, at once and for ever",
        says="Every request with them is refused from now on, and they cannot be"
        " brought back. Where only a new key is wanted, rotate instead.",
        do=_revoke_key,
        is_final=True,
    ),
    Action(
        name="rotate",
        label="Rotate: both work for a day",
        says="The new keys are shown on the next page, once: the customers must get"
        " them by a safe way before the old ones end.",
        do=_rotate_key,
        permission="change",
        show=show_keys,
    ),
]
_REGIONS = {
    "enable": "Jobs may be sent there again.",
    "disable": "No job is sent there, as if it were not there; what runs ends.",
    "drain": "No new job is sent there; what runs ends. Jobs go to their other allowed"
    " regions, or wait where they have none.",
    "undrain": "Jobs are sent there again from the next tick or two on.",
    "pin": "While it is open, jobs that may go there go nowhere else.",
    "unpin": "Jobs go where it is healthiest again.",
    "resume": "The pause that a refused key or credit began ends now.",
}


def _steer(action: str) -> Action:
    def do(region: Region, *, actor: str, now: datetime) -> Any:
        return regions.steer_region(name=region.pk, action=action, actor=actor, now=now)

    return Action(name=action, label=action.capitalize(), says=_REGIONS[action], do=do)


REGION_ACTIONS = [_steer(action) for action in regions.STEERS]

OF_JOBS = tuple(map(confirmed, JOB_ACTIONS))
OF_TENANTS = tuple(map(confirmed, TENANT_ACTIONS))
OF_KEYS = tuple(map(confirmed, KEY_ACTIONS))
OF_BATCHES = tuple(map(confirmed, BATCH_ACTIONS))
OF_REGIONS = tuple(map(confirmed, REGION_ACTIONS))
