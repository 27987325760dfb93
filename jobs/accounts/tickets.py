"""Tickets: leave to open one live socket, once and soon.

A browser cannot send a header with a WebSocket, and a key has no place in a URL: a
ticket is worth nothing after its use or its minute. Stored as a digest, as keys are.
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
    """Write a ticket and return it with its text, which nobody can read again."""
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
    """Use a ticket up and return it; None if it is unknown, used or too old.

    Its draft is returned and no longer stored: from now on it is the job's, and is
    erased with the job.
    """
    fresh = StreamTicket.objects.filter(
        digest=_digest(text), used_at=None, expires_at__gt=now
    )
    with transaction.atomic():
        # Two at once: the row's lock lets one of them through.
        locked = fresh.select_for_update(of=("self",))
        ticket = locked.select_related("tenant", "api_key__tenant").first()
        if ticket:
            used = StreamTicket.objects.filter(pk=ticket.pk)
            used.update(used_at=now, draft={})
    return ticket


def forget_tickets(*, before: datetime) -> int:
    """Delete tickets that ended before then; return how many."""
    return StreamTicket.objects.filter(expires_at__lt=before).delete()[0]


def _digest(text: str) -> bytes:
    return sha256(text.encode()).digest()
