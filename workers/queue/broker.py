"""Keep a worker alive when its Redis restarts.

celery 5.7.0 with kombu 5.7.0 exits on a broker restart while messages are unacked:
``on_connection_error_after_connected`` collects the transport, and the old channel then
reads ``self.connection.client.hostname`` of None, an AttributeError that no connection
handler knows. Saying "connection lost" instead lets Celery reconnect as it means to.
"""

from importlib.metadata import version
from typing import Any

import redis
from kombu.transport import redis as transport

# kombu's stubs know only its public half.
_Channel: Any = transport.Channel
# https://github.com/celery/kombu/issues/582 reports the same error.
# https://github.com/celery/kombu/blob/v5.7.0/kombu/transport/redis.py#L1956
_connparams = _Channel._connparams  # noqa: SLF001  the one place to mend


def _connparams_of_a_living_connection(self: Any, *args: Any, **kwargs: Any) -> Any:
    if getattr(self.connection, "client", None) is None:
        message = "channel of a closed connection"
        raise redis.exceptions.ConnectionError(message)
    return _connparams(self, *args, **kwargs)


def patch_reconnect() -> None:
    """Patch kombu 5.7's Redis channel; other versions are left alone."""
    if version("kombu").startswith("5.7."):
        _Channel._connparams = _connparams_of_a_living_connection  # noqa: SLF001
