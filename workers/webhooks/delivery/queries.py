"""Read a tenant's deliveries and their attempts.

Every queryset filters by tenant, so another tenant's id raises NotFound. Bodies are
deferred: a page of them would be megabytes.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Self
from uuid import UUID

from django.db.models import QuerySet, Window
from django.db.models.functions import RowNumber

from jobs.errors import NotFound
from jobs.models import Tenant
from jobs.parsing.strict_json import is_storable
from jobs.rest import filters as rest_filters
from jobs.rest.pagination import PageQuery
from jobs.rest.views import refuse_parameter
from workers.webhooks.models import DeliveryAttempt, WebhookDelivery

# An offset beyond PostgreSQL's limit raises an error.
_MAX_NUMBER = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryQuery:
    """Filters and page of a list request."""

    conditions: Mapping[str, str | UUID | datetime]
    page: PageQuery

    @classmethod
    def parse(cls, params: Mapping[str, str], *, owner: UUID) -> Self:
        """Parse the query parameters; raises InvalidRequest naming the invalid one."""
        filters = {
            "status": rest_filters.parse_choice(
                params, "status", WebhookDelivery.Status.values
            ),
            "event__type": _parse_type(params),
            "endpoint_id": rest_filters.parse_id(params, "endpoint_id"),
            "job_id": rest_filters.parse_id(params, "job_id"),
            "created_at__gte": rest_filters.parse_moment(params, "created_after"),
            "created_at__lt": rest_filters.parse_moment(params, "created_before"),
        }
        return cls(
            conditions={n: value for n, value in filters.items() if value is not None},
            page=PageQuery.parse(params, owner=owner, list_name="webhook-deliveries"),
        )


def find_deliveries(
    *, tenant: Tenant, conditions: Mapping[str, str | UUID | datetime]
) -> QuerySet[WebhookDelivery]:
    """Return the tenant's deliveries that match the conditions."""
    rows = WebhookDelivery.objects.filter(tenant=tenant, **conditions)
    return rows.select_related("event").defer("body")


def get_delivery(*, tenant: Tenant, delivery_id: UUID) -> WebhookDelivery:
    """Return a delivery of this tenant, or raise NotFound."""
    rows = find_deliveries(tenant=tenant, conditions={"pk": delivery_id})
    delivery = rows.first()
    if delivery is None:
        raise NotFound
    return delivery


def list_attempts(delivery: WebhookDelivery) -> list[DeliveryAttempt]:
    """Return a delivery's attempts, oldest first, numbered as ``n`` from 1."""
    return list(_in_order(delivery))


def get_attempt(delivery: WebhookDelivery, *, number: int) -> DeliveryAttempt:
    """Return the attempt with that number, counted from 1, or raise NotFound."""
    if not 1 <= number <= _MAX_NUMBER:
        raise NotFound
    found = _in_order(delivery)[number - 1 : number]
    if not found:
        raise NotFound
    return found[0]


def _in_order(delivery: WebhookDelivery) -> QuerySet[DeliveryAttempt]:
    number = Window(RowNumber(), order_by="claim_token")
    return delivery.log.annotate(n=number).order_by("claim_token")


def _parse_type(params: Mapping[str, str]) -> str | None:
    event_type = params.get("type")
    if event_type is not None and not is_storable(event_type):
        refuse_parameter("type", "This is an event type: job.completed.")
    return event_type
