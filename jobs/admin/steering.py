"""Admin actions on jobs, batches, tenants, keys and regions.

Each uses the services of the API and commands and is audited with the operator's name.
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
from jobs.admin.actions import Action, build_action
from jobs.api.keys.serializers import DEFAULT_OVERLAP_SECONDS
from jobs.batches import actions as batch_actions
from jobs.batches.api import acceptance
from jobs.batches.retry import RetryRequest
from jobs.models import ApiKey, Batch, Job, Priority, Region, Tenant
from jobs.retention import erasure
from jobs.routing import regions
from jobs.scheduling import dispatch
from jobs.state import JobStatus


class PriorityForm(forms.Form):
    """The new priority."""

    priority = forms.TypedChoiceField(
        choices=Priority.choices, coerce=int, initial=Priority.NORMAL
    )


def _cancel(job: Job, *, actor: str, now: datetime) -> Job:
    return services.cancel_job(job=job, now=now, actor=actor)


def _retry(job: Job, *, actor: str, now: datetime) -> Job:
    with transaction.atomic():
        retried = services.retry_job(job=job, api_key=None, now=now)
        audit.record(
            type="job.retried",
            actor=actor,
            at=now,
            tenant=job.tenant,
            job=retried,
            retry_of=str(job.pk),
        )
        transaction.on_commit(dispatch.wake)
    return retried


def _reprioritize(job: Job, *, actor: str, now: datetime, priority: int) -> Job:
    with transaction.atomic():
        moved = services.reprioritize_job(
            job=job, priority=priority, now=now, actor=actor
        )
        # The event of the job is not part of the audit log.
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
    acceptance.accept_retry(
        caller=Caller(tenant=batch.tenant, api_key=None, operator=actor),
        retry_request=RetryRequest(batch=batch, statuses={JobStatus.FAILED}),
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
    """Show new keys, once."""
    context = {**page.admin_site.each_context(request), "issued": issued}
    response = TemplateResponse(request, "admin/jobs/keys_issued.html", context)
    response.headers["Cache-Control"] = "no-store"
    return response


JOB_ACTIONS = [
    Action(
        name="cancel",
        label="Cancel",
        effect="Running calls are abandoned and their results discarded. The customers"
        " are notified. Jobs that have ended are rejected.",
        do=_cancel,
    ),
    Action(
        name="retry",
        label="Retry, as new jobs",
        effect="Each job is submitted again as a new job, which is billed again. Jobs"
        " that have not ended or whose audio is erased are rejected.",
        do=_retry,
    ),
    Action(
        name="reprioritize",
        label="Change priority",
        effect="The jobs move within their tenant's queue. Jobs that are not queued"
        " are rejected.",
        do=_reprioritize,
        form=PriorityForm,
    ),
    Action(
        name="erase",
        label="Erase permanently",
        effect="Audio, transcript, webhook messages and all customer data are erased"
        " and cannot be restored. Times, status and cost remain. Jobs that have not"
        " ended are rejected.",
        do=_erase,
        permission="erase",
        is_final=True,
    ),
]
TENANT_ACTIONS = [
    Action(
        name="pause",
        label="Pause",
        effect="No queued jobs of the tenants start. Running jobs finish. New jobs are"
        " accepted and wait.",
        do=_pause_tenant,
    ),
    Action(
        name="resume",
        label="Resume",
        effect="Queued jobs of the tenants start again.",
        do=_resume_tenant,
    ),
]
BATCH_ACTIONS = [
    Action(
        name="pause",
        label="Pause",
        effect="No queued jobs of the batches start. Running jobs finish.",
        do=_pause_batch,
    ),
    Action(
        name="resume",
        label="Resume",
        effect="Queued jobs of the batches start again.",
        do=_resume_batch,
    ),
    Action(
        name="cancel",
        label="Cancel the rest",
        effect="All jobs that have not ended are canceled, including running ones,"
        " within seconds (1,000 at a time). The customers are notified.",
        do=_cancel_batch,
        is_final=True,
    ),
    Action(
        name="reprioritize",
        label="Change priority",
        effect="All queued jobs get this priority (1,000 at a time).",
        do=_reprioritize_batch,
        form=PriorityForm,
    ),
    Action(
        name="retry_failed",
        label="Retry failed jobs",
        effect="The failed jobs of each batch are submitted again as a new batch,"
        " which is billed again. Batches that have not ended are rejected.",
        do=_retry_batch,
    ),
]
KEY_ACTIONS = [
    Action(
        name="revoke",
        label="Revoke permanently",
        effect="All requests with these keys are rejected immediately. This cannot be"
        " undone. To replace a key, rotate it instead.",
        do=_revoke_key,
        is_final=True,
    ),
    Action(
        name="rotate",
        label="Rotate: both work for a day",
        effect="The new keys are shown once, on the next page. Send them to the"
        " customers over a secure channel before the old keys expire.",
        do=_rotate_key,
        permission="change",
        show=show_keys,
    ),
]
_REGIONS = {
    "enable": "Jobs can run in the region again.",
    "disable": "No jobs start in the region. Running jobs finish.",
    "drain": "No new jobs start in the region; running jobs finish. Jobs use their"
    " other allowed regions, or wait if they have none.",
    "undrain": "Jobs start in the region again within seconds.",
    "pin": "While the region is available, all jobs that allow it run there.",
    "unpin": "Jobs run in the healthiest region again.",
    "resume": "Ends the pause after a rejected key or exhausted credit.",
}


def _steer(action: str) -> Action:
    def do(region: Region, *, actor: str, now: datetime) -> Any:
        return regions.steer_region(name=region.pk, action=action, actor=actor, now=now)

    return Action(
        name=action, label=action.capitalize(), effect=_REGIONS[action], do=do
    )


REGION_ACTIONS = [_steer(action) for action in regions.ACTIONS]

OF_JOBS = tuple(map(build_action, JOB_ACTIONS))
OF_TENANTS = tuple(map(build_action, TENANT_ACTIONS))
OF_KEYS = tuple(map(build_action, KEY_ACTIONS))
OF_BATCHES = tuple(map(build_action, BATCH_ACTIONS))
OF_REGIONS = tuple(map(build_action, REGION_ACTIONS))
