"""Operator actions on endpoints and deliveries; they call the API's services."""

from datetime import datetime, timedelta
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


def _enable(endpoint: WebhookEndpoint, *, actor: str, now: datetime) -> Any:
    return _set_enabled(endpoint, actor=actor, now=now, is_enabled=True)


def _disable(endpoint: WebhookEndpoint, *, actor: str, now: datetime) -> Any:
    return _set_enabled(endpoint, actor=actor, now=now, is_enabled=False)


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


DELIVERY_ACTIONS = [
    Action(
        name="redeliver",
        label="Send again",
        effect="Makes one more attempt at each delivery, with the same body and"
        " message ID. Receivers that deduplicate by ID process it once.",
        do=redeliver,
    ),
]
ENDPOINT_ACTIONS = [
    Action(
        name="enable",
        label="Enable",
        effect="The endpoints receive events from now on. Use Replay for missed ones.",
        do=_enable,
    ),
    Action(
        name="disable",
        label="Disable",
        effect="The endpoints receive no more events. Pending deliveries are"
        " discarded.",
        do=_disable,
    ),
    Action(
        name="replay",
        label="Replay undelivered messages",
        effect="Restarts the schedule of failed, discarded and pending messages, at"
        " most 10,000 per endpoint.",
        do=_recover,
        form=SpanForm,
    ),
    Action(
        name="rotate_secret",
        label="Rotate the signing secret",
        effect="The next page shows the new secret once. Send it to the customer"
        " through a secure channel before the old one expires.",
        do=_rotate,
        permission="rotate",
        form=GraceForm,
        show=_show_secrets,
    ),
]
REPLAY_JOB = Action(
    name="replay_webhooks",
    label="Replay webhooks",
    effect="Sends all messages about each job again, with the same bodies and IDs.",
    do=replay_job,
)

OF_DELIVERIES = tuple(map(build_action, DELIVERY_ACTIONS))
OF_ENDPOINTS = tuple(map(build_action, ENDPOINT_ACTIONS))
