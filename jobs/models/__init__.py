"""Database tables of tenants, jobs, attempts, events, batches and quotas.

Fields, constraints and filters only. Only ``jobs.services.advance`` writes
``Job.status``.
"""

from jobs.models.attempts import Attempt
from jobs.models.batches import Batch, BatchError, BatchState
from jobs.models.events import AuditEntry, Event
from jobs.models.ids import new_id
from jobs.models.jobs import (
    DURATION_ESTIMATED,
    CallbackStyle,
    Content,
    Job,
    Mode,
    ObjectToErase,
    Priority,
)
from jobs.models.regions import NO_RATE_LIMIT, Region
from jobs.models.requests import IdempotencyKey, StreamTicket
from jobs.models.tenants import ApiKey, QuotaCounter, Tenant
from jobs.models.workers import Beacon, Worker

__all__ = [
    "DURATION_ESTIMATED",
    "NO_RATE_LIMIT",
    "ApiKey",
    "Attempt",
    "AuditEntry",
    "Batch",
    "BatchError",
    "BatchState",
    "Beacon",
    "CallbackStyle",
    "Content",
    "Event",
    "IdempotencyKey",
    "Job",
    "Mode",
    "ObjectToErase",
    "Priority",
    "QuotaCounter",
    "Region",
    "StreamTicket",
    "Tenant",
    "Worker",
    "new_id",
]
