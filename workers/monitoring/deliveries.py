"""Webhook deliveries: attempts of the last hour by target, and due deliveries.

Reads at most the newest 10,000 attempts, by primary key, which grows with time.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

from django.db import connection

MAX_ATTEMPTS_READ = 10_000
MAX_COUNTED = 20_000
WINDOW = timedelta(hours=1)

_ATTEMPTS_SQL = """
SELECT d.endpoint_id, coalesce(nullif(e.url, ''), d.url_host), count(*),
  count(*) FILTER (WHERE a.status_code BETWEEN 200 AND 299),
  percentile_disc(0.5) WITHIN GROUP (ORDER BY a.duration_ms),
  percentile_disc(0.95) WITHIN GROUP (ORDER BY a.duration_ms)
FROM (
  SELECT delivery_id, status_code, duration_ms FROM webhooks_deliveryattempt
  WHERE id > (SELECT max(id) FROM webhooks_deliveryattempt) - %s AND started_at >= %s
) AS a
JOIN LATERAL (
  SELECT endpoint_id, split_part(target, ' ', 2) AS url_host
  FROM webhooks_webhookdelivery WHERE id = a.delivery_id
) AS d ON true
LEFT JOIN webhooks_webhookendpoint AS e ON e.id = d.endpoint_id
GROUP BY 1, 2
"""
_DUE_SQL = """
SELECT
  (SELECT count(*) FROM (
    SELECT 1 FROM webhooks_webhookdelivery
    WHERE next_attempt_at <= %(now)s AND NOT is_held LIMIT %(limit)s) AS due),
  (SELECT next_attempt_at FROM webhooks_webhookdelivery
   WHERE next_attempt_at IS NOT NULL AND NOT is_held
   ORDER BY next_attempt_at LIMIT 1),
  (SELECT count(*) FROM (
    SELECT 1 FROM webhooks_webhookdelivery WHERE is_held LIMIT %(limit)s) AS held),
  (SELECT count(*) FROM webhooks_webhookendpoint
   WHERE trial_wait_seconds > 0 AND is_enabled)
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetActivity:
    """Attempts to one endpoint, or to one host of callback URLs."""

    endpoint: UUID | None
    host: str
    attempts: int
    succeeded: int
    p50_ms: int
    p95_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryActivity:
    """Attempts of the last hour by target."""

    targets: list[TargetActivity]

    @property
    def attempts(self) -> int:
        """Return the number of attempts."""
        return sum(target.attempts for target in self.targets)

    @property
    def succeeded(self) -> int:
        """Return the number of attempts with a 2xx response."""
        return sum(target.succeeded for target in self.targets)

    def slowest(self, limit: int) -> list[TargetActivity]:
        """Return the targets with the highest p95, slowest first."""
        return sorted(self.targets, key=lambda target: -target.p95_ms)[:limit]


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitingDeliveries:
    """Due and held deliveries. Those being sent are due later (their lease)."""

    number: int
    oldest_at: datetime | None
    held: int
    circuits_open: int

    def late_by(self, *, now: datetime) -> timedelta:
        """Return the delay of the oldest due delivery."""
        return max(timedelta(), now - (self.oldest_at or now))


def read_due(*, now: datetime) -> WaitingDeliveries:
    """Count due and held deliveries, at most ``MAX_COUNTED`` each."""
    with connection.cursor() as cursor:
        cursor.execute(_DUE_SQL, {"now": now, "limit": MAX_COUNTED})
        number, oldest_at, held, circuits_open = cursor.fetchone()
    return WaitingDeliveries(
        number=number, oldest_at=oldest_at, held=held, circuits_open=circuits_open
    )


def read_deliveries(*, now: datetime) -> DeliveryActivity:
    """Aggregate the attempts of the last hour."""
    with connection.cursor() as cursor:
        cursor.execute(_ATTEMPTS_SQL, [MAX_ATTEMPTS_READ, now - WINDOW])
        return DeliveryActivity(targets=list(_build_targets(cursor.fetchall())))


def _build_targets(rows: Iterable[Any]) -> Iterable[TargetActivity]:
    for endpoint, address, attempts, succeeded, p50, p95 in rows:
        yield TargetActivity(
            endpoint=endpoint,
            # Other parts of the URL may be secret.
            host=urlsplit(address).hostname or address,
            attempts=attempts,
            succeeded=succeeded,
            p50_ms=p50,
            p95_ms=p95,
        )
