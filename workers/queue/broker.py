"""Patch kombu so that a worker survives a restart of its Redis, and a full one.

A Redis out of memory, or one that became a replica, rejects the writes of a worker that
connects. For kombu these are no connection errors, and Celery exits with "Unrecoverable
error" and ends the running calls; as connection errors they make it retry.

celery 5.7.0 with kombu 5.7.0 exits on a broker restart while messages are unacked:
``on_connection_error_after_connected`` closes the transport, and the old channel then
reads ``self.connection.client.hostname`` of None. No handler catches that
AttributeError; a ConnectionError makes Celery reconnect.
https://github.com/celery/kombu/blob/v5.7.0/kombu/transport/redis.py#L1956-L1957
The same error: https://github.com/celery/kombu/issues/582
"""

from importlib.metadata import version
from typing import Any

import redis
from kombu.transport import redis as transport

_Channel: Any = transport.Channel  # kombu's stubs omit private attributes
_Transport: Any = transport.Transport
_REJECTED_WRITES = (
    redis.exceptions.OutOfMemoryError,
    redis.exceptions.ReadOnlyError,
)
_connparams = _Channel._connparams  # noqa: SLF001


def _checked_connparams(self: Any, *args: Any, **kwargs: Any) -> Any:
    if getattr(self.connection, "client", None) is None:
        message = "channel of a closed connection"
        raise redis.exceptions.ConnectionError(message)
    return _connparams(self, *args, **kwargs)


def patch_reconnect() -> None:
    """Patch the Redis transport; the channel of kombu 5.7 only."""
    _Transport.connection_errors = tuple(
        dict.fromkeys((*_Transport.connection_errors, *_REJECTED_WRITES))
    )
    if version("kombu").startswith("5.7."):
        _Channel._connparams = _checked_connparams  # noqa: SLF001
