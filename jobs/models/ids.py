"""Ids of rows."""

from uuid import UUID

import uuid_utils.compat


def new_id() -> UUID:
    """Return a time-ordered id (UUIDv7, RFC 9562), so that indexes grow at one end."""
    return uuid_utils.compat.uuid7()
