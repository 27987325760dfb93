"""Operator actions on endpoints and deliveries; they call the API's services."""

import tomllib
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

from django import forms
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse

from jobs.accounts.caller import Caller
from jobs.admin.actions import Action, build_action
from jobs.errors import Conflict, NotFound, PlatformError
from jobs.models import Job
from workers.webhooks import endpoints
from workers.webhooks.delivery import replay
from workers.webhooks.messages.secrets import SecretRotationRequest
from workers.webhooks.models import WebhookDelivery, WebhookEndpoint

# A job has a handful of messages per endpoint.
_MAX_PER_JOB = 100


class GraceForm(forms.Form):
    """The grace period of the old secret."""

    grace_hours = forms.TypedChoiceField(
        label="The old secret also signs for",
        choices=[(24, "a day"), (1, "an hour"), (0, "no time: it leaked")],
        coerce=int,
        initial=24,
    )


class SpanForm(forms.Form):
    """The age limit of replayed messages."""

    hours = forms.TypedChoiceField(
        label="Created in the last",
        choices=[(1, "hour"), (24, "day"), (72, "3 days"), (24 * 14, "14 days")],
        coerce=int,
        initial=24,
    )


def redeliver(delivery: WebhookDelivery, *, actor: str, now: datetime) -> None:
    """Schedule one manual attempt."""
    replay.redeliver(
        tenant=delivery.tenant, actor=actor, delivery_id=delivery.pk, now=now
    )


def replay_job(job: Job, *, actor: str, now: datetime) -> int:
    """Redeliver all messages about a job; return how many were scheduled.

    Raises NotFound if there are none, and the last error if none could be scheduled.
    """
    rows = WebhookDelivery.objects.filter(job=job).select_related("tenant")
    last_error: PlatformError = NotFound("The job has no webhook deliveries.")
    scheduled = 0
    for delivery in rows.defer("body").order_by("pk")[:_MAX_PER_JOB]:
        try:
            redeliver(delivery, actor=actor, now=now)
            scheduled += 1
        except PlatformError as error:
            last_error = error
    if not scheduled:
        raise last_error
    return scheduled


def _set_enabled(
    endpoint: WebhookEndpoint, *, actor: str, now: datetime, is_enabled: bool
) -> WebhookEndpoint:
    if endpoint.is_enabled == is_enabled and not endpoint.deleted_at:
        state = "enabled" if is_enabled else "disabled"
        raise Conflict(f"The endpoint is already {state}.")
    return endpoints.update_endpoint(
        caller=Caller(tenant=endpoint.tenant, api_key=None, operator=actor),
        endpoint_id=endpoint.pk,
        fields={"is_enabled": is_enabled},
        now=now,
    )


def _recover(
    endpoint: WebhookEndpoint, *, actor: str, now: datetime, hours: int
) -> Any:
    return replay.recover(
        tenant=endpoint.tenant,
        actor=actor,
        endpoint_id=endpoint.pk,
        span=replay.ReplayRange(since=now - timedelta(hours=hours), until=now),
        now=now,
    )


def _rotate(
    endpoint: WebhookEndpoint, *, actor: str, now: datetime, grace_hours: int
) -> tuple[WebhookEndpoint, str]:
    rotated = endpoints.rotate_endpoint_secret(
        caller=Caller(tenant=endpoint.tenant, api_key=None, operator=actor),
        endpoint_id=endpoint.pk,
        rotation=SecretRotationRequest(grace=timedelta(hours=grace_hours)),
        now=now,
    )
    return endpoint, rotated.secret


def _show_secrets(page: Any, request: HttpRequest, rotated: list[Any]) -> HttpResponse:
    context = {
        **page.admin_site.each_context(request),
        "title": "New signing secrets",
        "rotated": rotated,
    }
    response = TemplateResponse(request, "admin/webhooks/secrets_rotated.html", context)
    response.headers["Cache-Control"] = "no-store"
    return response


_TEXTS = tomllib.loads(Path(__file__).with_suffix(".toml").read_text("utf-8"))


def _build(name: str, do: Callable[..., Any], **more: Any) -> Any:
    return build_action(Action(name=name, do=do, **_TEXTS[name], **more))


OF_DELIVERIES = (_build("redeliver", redeliver),)
OF_ENDPOINTS = (
    _build("enable", partial(_set_enabled, is_enabled=True)),
    _build("disable", partial(_set_enabled, is_enabled=False)),
    _build("replay", _recover, form=SpanForm),
    _build("rotate_secret", _rotate, form=GraceForm, show=_show_secrets),
)
REPLAY_JOB = _build("replay_webhooks", replay_job)
