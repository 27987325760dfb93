"""Load claimed deliveries, with all that their messages need, by one statement.

The statement is prepared, and its plan may date from before the tables had statistics.
So each LATERAL subquery looks up one row by its key: the plan has only index scans.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any
from uuid import UUID

from django.db.models import Model

from jobs.models import Batch, Event, Job, prepared_statements
from transcripts.models import Transcript
from workers.webhooks.messages import secrets
from workers.webhooks.models import WebhookDelivery, WebhookEndpoint

# The tables with the conditions that select their row. The alias of each is its name.
_LOOK_UPS: dict[type[Model], str] = {
    WebhookDelivery: "id = claim.id AND claim_token = claim.token AND is_claimed",
    Event: "id = webhooks_webhookdelivery.event_id",
    Batch: "id = jobs_event.batch_id",
    Job: "id = webhooks_webhookdelivery.job_id",
    Transcript: "job_id = webhooks_webhookdelivery.job_id",
    WebhookEndpoint: "id = webhooks_webhookdelivery.endpoint_id",
}
# The current secret comes first, then rotated ones within their grace period.
_SECRETS = """
ARRAY(SELECT ciphertext FROM webhooks_webhooksecret AS secret
      WHERE secret.tenant_id = webhooks_webhookdelivery.tenant_id
        AND secret.endpoint_id {owner}
        AND (secret.expires_at IS NULL OR secret.expires_at > clock.loaded_at)
      ORDER BY secret.expires_at IS NOT NULL, secret.id DESC)
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryClaim:
    """The claim of one attempt; writes under an older token have no effect."""

    delivery_id: UUID
    token: int
    # The worker process; "" if any process of an older version may make the attempt.
    process: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedDelivery:
    """A delivery with event, batch, job, transcript and endpoint, and the secrets.

    ``secrets`` are the ciphertexts of the endpoint's signing secrets, or of its
    tenant's default ones if it has none.
    """

    delivery: WebhookDelivery
    secrets: list[bytes]


def load_claimed(
    claims: Sequence[DeliveryClaim], *, now: datetime
) -> list[LoadedDelivery]:
    """Return the deliveries whose claims are current."""
    ids = [claim.delivery_id for claim in claims]
    tokens = [claim.token for claim in claims]
    rows = prepared_statements.fetch(_build_sql(), [ids, tokens, now])
    return [_load(row) for row in rows]


def _load(row: Sequence[Any]) -> LoadedDelivery:
    *values, own, default = row
    found = dict(_split(values))
    delivery, event, job = found[WebhookDelivery], found[Event], found[Job]
    delivery.event, delivery.job = event, job
    delivery.endpoint = found[WebhookEndpoint]
    event.batch = found[Batch]
    if job:
        Job._meta.get_field("transcript").set_cached_value(job, found[Transcript])  # noqa: SLF001
    ciphertexts = own or default
    if not ciphertexts:
        secret = secrets.get_or_create_tenant_secret(delivery.tenant)
        ciphertexts = [secrets.encrypt(secret)]
    return LoadedDelivery(delivery=delivery, secrets=ciphertexts)


def _split(values: Sequence[Any]) -> Iterator[tuple[type[Model], Any]]:
    """Yield the object of each table; None if the delivery has no such row."""
    start = 0
    for model in _LOOK_UPS:
        end = start + len(model._meta.concrete_fields)  # noqa: SLF001
        key = start + model._meta.concrete_fields.index(model._meta.pk)  # noqa: SLF001
        is_missing = values[key] is None
        part = values[start:end]
        yield model, None if is_missing else prepared_statements.load(model, part)
        start = end


@cache
def _build_sql() -> str:
    columns = [prepared_statements.list_columns(model) for model in _LOOK_UPS]
    columns += [
        _SECRETS.format(owner="= webhooks_webhookdelivery.endpoint_id"),
        _SECRETS.format(owner="IS NULL"),
    ]
    look_ups = []
    for model, condition in _LOOK_UPS.items():
        table = model._meta.db_table  # noqa: SLF001
        join = "JOIN" if model in {WebhookDelivery, Event} else "LEFT JOIN"
        look_ups.append(
            f"{join} LATERAL (SELECT * FROM {table} WHERE {condition} OFFSET 0)"  # noqa: S608
            f" AS {table} ON true"
        )
    return (
        f"SELECT {', '.join(columns)}"  # noqa: S608
        " FROM unnest($1::uuid[], $2::int[]) AS claim (id, token)"
        " CROSS JOIN (SELECT $3::timestamptz AS loaded_at) AS clock "
        + " ".join(look_ups)
    )
