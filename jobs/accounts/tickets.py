"""Tickets: single-use credentials to open one live WebSocket within 60 seconds.

A browser cannot send a header with a WebSocket, and a key in a URL would be logged.
Tickets are stored as a digest, like keys.
"""

import secrets
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any

from django.db import transaction

from jobs.models import ApiKey, StreamTicket, Tenant

PREFIX = "st_"
LIFETIME = timedelta(seconds=60)


def create_ticket(
    *, tenant: Tenant, api_key: ApiKey | None, draft: dict[str, Any], now: datetime
) -> tuple[StreamTicket, str]:
    """Save a ticket and return it with its text, which is not stored."""
    text = PREFIX + secrets.token_urlsafe(32)
    ticket = StreamTicket.objects.create(
        tenant=tenant,
        api_key=api_key,
        digest=_digest(text),
        draft=draft,
        expires_at=now + LIFETIME,
    )
    return ticket, text


def redeem_ticket(text: str, *, now: datetime) -> StreamTicket | None:
    """Mark a ticket as used and return it; None if it is unknown, used or expired.

    Its draft is returned and removed from the row: it becomes the job's and is erased
    with the job.
    """
    fresh = StreamTicket.objects.filter(
        digest=_digest(text), used_at=None, expires_at__gt=now
    )
    with transaction.atomic():
        # Of two concurrent requests the row lock lets one succeed.
        locked = fresh.select_for_update(of=("self",))
        ticket = locked.select_related("tenant", "api_key__tenant").first()
        if ticket:
            used = StreamTicket.objects.filter(pk=ticket.pk)
            used.update(used_at=now, draft={})
    return ticket


def purge_tickets(*, before: datetime) -> int:
    """Delete tickets that expired before then; return how many."""
    return StreamTicket.objects.filter(expires_at__lt=before).delete()[0]


def _digest(text: str) -> bytes:
    return sha256(text.encode()).digest()
