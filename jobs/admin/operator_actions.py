"""Admin actions on jobs, batches, tenants, keys and regions.

Each uses the services of the API and commands and is audited with the operator's name.
"""

import tomllib
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
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
from jobs.models import ApiKey, Batch, Job, Priority, Region
from jobs.retention import erasure
from jobs.routing import regions
from jobs.state import JobStatus


class PriorityForm(forms.Form):
    """The new priority."""

    priority = forms.TypedChoiceField(
        choices=Priority.choices, coerce=int, initial=Priority.NORMAL
    )


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


def _retry_batch(batch: Batch, *, actor: str, now: datetime) -> None:
    acceptance.accept_retry(
        caller=Caller(tenant=batch.tenant, api_key=None, operator=actor),
        retry_request=RetryRequest(batch=batch, statuses={JobStatus.FAILED}),
        now=now,
    )


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


def _change_region(action: str) -> Callable[..., Region]:
    def change(region: Region, *, actor: str, now: datetime) -> Region:
        return regions.apply_action(name=region.pk, action=action, actor=actor, now=now)

    return change


_TEXTS = tomllib.loads(Path(__file__).with_suffix(".toml").read_text("utf-8"))
_FORMS = {"reprioritize": PriorityForm}
_RESULT_PAGES = {"rotate": show_keys}


def _build(kind: str, **functions: Callable[..., Any]) -> tuple[Any, ...]:
    """Return the Django actions on rows of a kind, a parameter of the functions."""

    def bind(function: Callable[..., Any]) -> Callable[..., Any]:
        return lambda row, **fields: function(**{kind: row}, **fields)

    return tuple(
        build_action(
            Action(
                name=name,
                do=bind(function),
                form=_FORMS.get(name),
                show=_RESULT_PAGES.get(name),
                **_TEXTS[kind][name],
            )
        )
        for name, function in functions.items()
    )


OF_JOBS = _build(
    "job",
    cancel=services.cancel_job,
    retry=_retry,
    reprioritize=_reprioritize,
    erase=erasure.erase_job,
)
OF_TENANTS = _build(
    "tenant", pause=services.pause_tenant, resume=services.resume_tenant
)
OF_BATCHES = _build(
    "batch",
    pause=batch_actions.pause,
    resume=batch_actions.resume,
    cancel=batch_actions.cancel,
    reprioritize=batch_actions.reprioritize,
    retry_failed=_retry_batch,
)
OF_KEYS = _build("key", revoke=keys.revoke_key, rotate=_rotate_key)
OF_REGIONS = _build(
    "region", **{action: _change_region(action) for action in regions.ACTIONS}
)
