"""Idempotent requests: one execution per Idempotency-Key, the same response each time.

The response is stored in the transaction that does the work, so a crash keeps both or
neither. Only successful responses are stored: a rejected request can be corrected and
sent again with the same key.
"""

import hashlib
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from typing import Any

from django.conf import settings
from django.db import OperationalError, transaction
from django.db.models import QuerySet
from psycopg.errors import LockNotAvailable

from jobs.errors import (
    Erased,
    IdempotencyConflict,
    InvalidRequest,
    RequestInFlight,
)
from jobs.models import IdempotencyKey, Tenant, prepared_statements

HEADER = "Idempotency-Key"
# A repeat waits this long for the first request to commit, which takes milliseconds.
LOCK_SECONDS = 5.0
_VISIBLE = re.compile(r"[\x21-\x7e]{1,255}")


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredResponse:
    """The parts of a response that are needed to send it again."""

    status_code: int
    body: dict[str, Any]
    location: str = ""


def parse_key(header: str | None) -> str:
    """Return the key of an ``Idempotency-Key`` header, bare or quoted; "" if absent.

    Raises InvalidRequest unless it is 1 to 255 visible ASCII characters.
    """
    if header is None:
        return ""
    quoted = len(header) > 1 and header[0] == header[-1] == '"'
    key = header[1:-1] if quoted else header
    if not _VISIBLE.fullmatch(key):
        message = "An Idempotency-Key is 1 to 255 visible ASCII characters."
        raise InvalidRequest(message, code="idempotency_key_invalid", pointer=HEADER)
    return key


def compute_digest(request: Any) -> bytes:
    """Return the digest that detects a different request under the same key."""
    canonical = json.dumps(request, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).digest()


@dataclass(frozen=True, slots=True, kw_only=True)
class IdempotentRequest:
    """A request that runs at most once per tenant, route and key.

    An empty key disables idempotency: ``lock`` is then a plain transaction.
    """

    tenant: Tenant
    route: str
    key: str
    digest: bytes
    now: datetime

    def find(self) -> StoredResponse | None:
        """Return the stored response, if any, without locking.

        It only saves work; ``lock`` decides. Raises IdempotencyConflict or Erased.
        """
        if not self.key:
            return None
        stored = self._rows().filter(created_at__gt=self._expires_before()).first()
        return _replay(stored, self.digest) if stored else None

    @contextmanager
    def lock(self) -> Iterator[StoredResponse | None]:
        """Open the transaction of the request; yield the stored response, if any.

        Without a stored response the block does the work and calls ``store``. A second
        request with the key waits LOCK_SECONDS for the first, then raises
        RequestInFlight. Raises IdempotencyConflict for a different request with the
        same key, and Erased if the resource that it created is erased.
        """
        with transaction.atomic():
            if not self.key:
                yield None
                return
            _lock(self.tenant, self.route, self.key)
            stored = self._read()
            if stored and stored.created_at <= self._expires_before():
                stored.delete()
                stored = None
            yield _replay(stored, self.digest) if stored else None

    def store(self, response: StoredResponse) -> None:
        """Store the response; call it inside ``lock``."""
        if record := self.build_record(response):
            record.save(force_insert=True)

    def build_record(self, response: StoredResponse) -> IdempotencyKey | None:
        """Return the unsaved row of the response, or None without a key."""
        if not self.key:
            return None
        return IdempotencyKey(
            tenant=self.tenant,
            route=self.route,
            key=self.key,
            digest=self.digest,
            status_code=response.status_code,
            body=response.body,
            location=response.location,
            created_at=self.now,
        )

    def _read(self) -> IdempotencyKey | None:
        values = [str(self.tenant.pk), self.route, self.key]
        rows = prepared_statements.fetch(_build_find(), values)
        loaded = (prepared_statements.load(IdempotencyKey, row) for row in rows)
        return next(loaded, None)

    def _rows(self) -> QuerySet[IdempotencyKey]:
        return IdempotencyKey.objects.filter(
            tenant=self.tenant, route=self.route, key=self.key
        )

    def _expires_before(self) -> datetime:
        return self.now - timedelta(hours=settings.IDEMPOTENCY_HOURS)


def _replay(stored: IdempotencyKey, digest: bytes) -> StoredResponse:
    if bytes(stored.digest) != digest:
        raise IdempotencyConflict
    if stored.erased_at:
        raise Erased("The job that this request created is erased.")
    return StoredResponse(
        status_code=stored.status_code, body=stored.body, location=stored.location
    )


def _lock(tenant: Tenant, route: str, key: str) -> None:
    """Lock the key until the transaction ends; raises RequestInFlight on timeout."""
    name = f"{tenant.pk}\n{route}\n{key}".encode()
    number = int.from_bytes(hashlib.sha256(name).digest()[:8], signed=True)
    try:
        # The timeout applies to this lock only. One statement: one round trip.
        prepared_statements.fetch(
            "SELECT set_config('lock_timeout', $1, true),"
            " pg_advisory_xact_lock($2), set_config('lock_timeout', '0', true)",
            [f"{LOCK_SECONDS * 1000:.0f}", str(number)],
        )
    except OperationalError as error:
        if isinstance(error.__cause__, LockNotAvailable):
            raise RequestInFlight from error
        raise


@cache
def _build_find() -> str:
    columns = prepared_statements.list_columns(IdempotencyKey)
    return (
        f"SELECT {columns} FROM jobs_idempotencykey"  # noqa: S608  constants
        " WHERE tenant_id = $1 AND route = $2 AND key = $3"
    )
