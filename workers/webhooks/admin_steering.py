"""What operators have done to endpoints and deliveries, through the API's services."""

from datetime import datetime, timedelta
from typing import Any

from django import forms
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse

from jobs.accounts.caller import Caller
from jobs.admin.actions import Action, confirmed
from jobs.errors import Conflict, NotFound, PlatformError
from jobs.models import Job
from jobs.rest.idempotency import StoredResponse
from workers.webhooks.delivery import replay
from workers.webhooks.endpoints import services as endpoint_services
from workers.webhooks.endpoints.answer_once import SecretRequest
from workers.webhooks.messages.secrets import SecretRotationRequest
from workers.webhooks.models import WebhookDelivery, WebhookEndpoint

# A job has a handful of messages for each endpoint.
_MOST_OF_A_JOB = 100


class GraceForm(forms.Form):
    """How long the old secret still signs."""

    grace_hours = forms.TypedChoiceField(
        label="The old secret signs beside it for",
        choices=[(24, "a day"), (1, "an hour"), (0, "no time: it leaked")],
        coerce=int,
        initial=24,
    )


class SpanForm(forms.Form):
    """How far back to look."""

    hours = forms.TypedChoiceField(
        label="Made in the last",
        choices=[(1, "hour"), (24, "day"), (72, "3 days"), (24 * 14, "14 days")],
        coerce=int,
        initial=24,
    )


def redeliver(delivery: WebhookDelivery, *, actor: str, now: datetime) -> None:
    """Have one manual attempt made."""
    replay.redeliver(
        tenant=delivery.tenant, actor=actor, delivery_id=delivery.pk, now=now
    )


def replay_job(job: Job, *, actor: str, now: datetime) -> int:
    """Have all that was told of a job told again; return how many messages.

    Raises NotFound where there are none, and what refused them if all were refused.
    """
    rows = WebhookDelivery.objects.filter(job=job).select_related("tenant")
    refusal: PlatformError = NotFound("Nobody was told of this job.")
    sent = 0
    for delivery in rows.defer("body").order_by("pk")[:_MOST_OF_A_JOB]:
        try:
            redeliver(delivery, actor=actor, now=now)
            sent += 1
        except PlatformError as error:
            refusal = error
    if not sent:
        raise refusal
    return sent


def _switch(
    endpoint: WebhookEndpoint, *, actor: str, now: datetime, on: bool
) -> WebhookEndpoint:
    if endpoint.is_enabled == on and not endpoint.deleted_at:
        raise Conflict(f"It is {'on' if on else 'off'} already.")
    return endpoint_services.update_endpoint(
        caller=Caller(tenant=endpoint.tenant, api_key=None, operator=actor),
        endpoint_id=endpoint.pk,
        fields={"is_enabled": on},
        now=now,
    )


def _enable(endpoint: WebhookEndpoint, *, actor: str, now: datetime) -> Any:
    return _switch(endpoint, actor=actor, now=now, on=True)


def _disable(endpoint: WebhookEndpoint, *, actor: str, now: datetime) -> Any:
    return _switch(endpoint, actor=actor, now=now, on=False)


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
    rotated = endpoint_services.rotate_endpoint_secret(
        once=SecretRequest(
            caller=Caller(tenant=endpoint.tenant, api_key=None, operator=actor),
            now=now,
            body={},
            answer=lambda _rotated: StoredResponse(status_code=200, body={}),
        ),
        endpoint_id=endpoint.pk,
        rotation=SecretRotationRequest(grace=timedelta(hours=grace_hours)),
    )
    return endpoint, rotated.secret


def _show(page: Any, request: HttpRequest, rotated: list[Any]) -> HttpResponse:
    context = {
        **page.admin_site.each_context(request),
        "title": "New signing secrets",
        "rotated": rotated,
    }
    shown = TemplateResponse(request, "admin/webhooks/secrets_rotated.html", context)
    shown.headers["Cache-Control"] = "no-store"
    return shown


DELIVERY_ACTIONS = [
    Action(
        name="redeliver",
        label="Send again",
        says="One more attempt is made at each, soon, with the same bytes and id."
        " A receiver that keeps to ids takes a repeated one once.",
        do=redeliver,
    ),
]
ENDPOINT_ACTIONS = [
    Action(
        name="enable",
        label="Enable",
        says="They are told of what happens from now on; for what they missed, replay.",
        do=_enable,
    ),
    Action(
        name="disable",
        label="Disable",
        says="They are told nothing more, and what is still on its way to them is"
        " given up.",
        do=_disable,
    ),
    Action(
        name="replay",
        label="Replay what they did not take",
        says="Messages that failed, were given up or wait are sent anew, ten thousand"
        " an endpoint at most.",
        do=_recover,
        form=SpanForm,
    ),
    Action(
        name="rotate_secret",
        label="Rotate the signing secret",
        says="The new secret is shown on the next page, once: the customer must get it"
        " by a safe way before the old one ends.",
        do=_rotate,
        permission="rotate",
        form=GraceForm,
        show=_show,
    ),
]
REPLAY_JOB = Action(
    name="replay_webhooks",
    label="Replay webhooks",
    says="All that was told of each job is sent once more, with the same bytes and"
    " ids.",
    do=replay_job,
)

OF_DELIVERIES = tuple(map(confirmed, DELIVERY_ACTIONS))
OF_ENDPOINTS = tuple(map(confirmed, ENDPOINT_ACTIONS))
