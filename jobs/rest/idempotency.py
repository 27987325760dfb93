"""Answer a request once, however often it is sent.

The record of an answer is committed with what the request made: a crash leaves both or
neither. Only answers that came about are kept; a refused request may be mended and sent
again under the same key.
"""

import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import OperationalError, connection, transaction
from psycopg.errors import LockNotAvailable

from jobs.errors import (
    Erased,
    IdempotencyConflict,
    InvalidRequest,
    RequestInFlight,
)
from jobs.models import IdempotencyKey, Tenant

HEADER = "Idempotency-Key"
# How long a repeat waits for the first one's commit: that is a matter of milliseconds.
LOCK_SECONDS = 5.0
_VISIBLE = re.compile(r"[\x21-\x7e]{1,255}")


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredResponse:
    """What was answered: enough to answer it again."""

    status_code: int
    body: dict[str, Any]
    location: str = ""


def parse_key(header: str | None) -> str:
    """Return the key of an ``Idempotency-Key`` header, bare or quoted; "" without one.

    Raises InvalidRequest for one that is not 1 to 255 visible ASCII characters.
    """
    if header is None:
        return ""
    quoted = len(header) > 1 and header[0] == header[-1] == '"'
    key = header[1:-1] if quoted else header
    if not _VISIBLE.fullmatch(key):
        message = "An Idempotency-Key is 1 to 255 visible ASCII characters."
        raise InvalidRequest(message, code="idempotency_key_invalid", pointer=HEADER)
    return key


def digest_of(request: Any) -> bytes:
    """Return a digest by which two requests with the same key are compared."""
    canonical = json.dumps(request, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).digest()


@dataclass(frozen=True, slots=True, kw_only=True)
class IdempotentRequest:
    """A request that is to be answered once; see ``answer_once``."""

    tenant: Tenant
    route: str
    key: str
    digest: bytes
    now: datetime

    def find(self) -> StoredResponse | None:
        """Return the old answer, if there is one, and wait for nobody.

        It spares work and decides nothing. Raises IdempotencyConflict or Erased.
        """
        if not self.key:
            return None
        forgotten = self.now - timedelta(hours=settings.IDEMPOTENCY_HOURS)
        known = IdempotencyKey.objects.filter(
            tenant=self.tenant,
            route=self.route,
            key=self.key,
            created_at__gt=forgotten,
        ).first()
        return _replay(known, self.digest) if known else None

    def answer(self, make: Callable[[], StoredResponse]) -> tuple[StoredResponse, bool]:
        """Answer the request."""
        return answer_once(
            tenant=self.tenant,
            route=self.route,
            key=self.key,
            digest=self.digest,
            now=self.now,
            make=make,
        )


def answer_once(
    *,
    tenant: Tenant,
    route: str,
    key: str,
    digest: bytes,
    now: datetime,
    make: Callable[[], StoredResponse],
) -> tuple[StoredResponse, bool]:
    """Return the answer and whether it is an old one; ``make`` runs at most once.

    Everything ``make`` writes commits with the record. A second request with the key
    waits for the first, for a while (RequestInFlight); with another body it raises
    IdempotencyConflict, and when what it made is erased Erased. Without a key ``make``
    just runs in a transaction.
    """
    with transaction.atomic():
        if not key:
            return make(), False
        _lock(tenant, route, key)
        kept = IdempotencyKey.objects.filter(tenant=tenant, route=route, key=key)
        forgotten = now - timedelta(hours=settings.IDEMPOTENCY_HOURS)
        kept.filter(created_at__lte=forgotten).delete()
        known = kept.first()
        if known:
            return _replay(known, digest), True
        answer = make()
        IdempotencyKey.objects.create(
            tenant=tenant,
            route=route,
            key=key,
            digest=digest,
            status_code=answer.status_code,
            body=answer.body,
            location=answer.location,
            created_at=now,
        )
        return answer, False


def _replay(known: IdempotencyKey, digest: bytes) -> StoredResponse:
    if bytes(known.digest) != digest:
        raise IdempotencyConflict
    if known.erased_at:
        raise Erased("This request was answered with a job that is erased since.")
    return StoredResponse(
        status_code=known.status_code, body=known.body, location=known.location
    )


def _lock(tenant: Tenant, route: str, key: str) -> None:
    """Let one request with this key pass at a time, until its transaction ends.

    Raises RequestInFlight for who has waited too long, holding a connection.
    """
    name = f"{tenant.pk}\n{route}\n{key}".encode()
    number = int.from_bytes(hashlib.sha256(name).digest()[:8], signed=True)
    with connection.cursor() as cursor:
        try:
            # The limit is this lock's alone; all in one statement, hence one trip.
            cursor.execute(
                "SELECT set_config('lock_timeout', %s, true),"
                " pg_advisory_xact_lock(%s), set_config('lock_timeout', '0', true)",
                [f"{LOCK_SECONDS * 1000:.0f}", number],
            )
        except OperationalError as error:
            if isinstance(error.__cause__, LockNotAvailable):
                raise RequestInFlight from error
            raise
