"""Opaque cursors: a place in a tenant's list that stays put while rows come in.

Ids are time-ordered, so a place is the last id seen. Signed, so that a cursor of
another tenant, or one that somebody edited, is told from a valid one.
"""

import base64
import binascii
import hmac
from uuid import UUID

from django.utils.crypto import salted_hmac

from jobs.errors import InvalidRequest

_SIGNATURE_LENGTH = 8
_UUID_LENGTH = 16


def build_cursor(last: UUID, *, owner: UUID) -> str:
    """Return the cursor that continues after ``last``."""
    signed = last.bytes + _signature(last, owner)
    return base64.urlsafe_b64encode(signed).decode()


def parse_cursor(cursor: str, *, owner: UUID) -> UUID:
    """Return the id to continue after, or raise InvalidRequest."""
    try:
        signed = base64.b64decode(cursor, altchars=b"-_", validate=True)
        last = UUID(bytes=signed[:_UUID_LENGTH])
    except (binascii.Error, ValueError):
        last, signed = owner, b""
    given = signed[_UUID_LENGTH:]
    if not hmac.compare_digest(given, _signature(last, owner)):
        message = "This cursor is not one of this list's."
        raise InvalidRequest(message, code="cursor_invalid", pointer="?cursor")
    return last


def _signature(last: UUID, owner: UUID) -> bytes:
    value = last.bytes + owner.bytes
    whole = salted_hmac("jobs.cursor", value, algorithm="sha256").digest()
    return whole[:_SIGNATURE_LENGTH]
