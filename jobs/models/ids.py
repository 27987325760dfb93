"""Primary keys."""

from uuid import UUID

import uuid_utils.compat


def new_id() -> UUID:
    """Return a UUIDv7 (RFC 9562): time-ordered, so that indexes grow at one end."""
    return uuid_utils.compat.uuid7()
