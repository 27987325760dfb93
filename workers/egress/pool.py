"""A connection pool that closes connections with unread bytes after a response.

httpcore reuses such a connection and reads the bytes as the response to the next
request, which may be another customer's. A body after a 204 is enough.
"""

import httpcore


class Pool(httpcore.ConnectionPool):
    """httpcore's pool with `Connection` for its connections.

    Uses private attributes of
    https://github.com/encode/httpcore/blob/1.0.9/httpcore/_sync/connection_pool.py#L92-L118
    """

    def create_connection(self, origin: httpcore.Origin) -> "Connection":
        """Return a new connection; called by httpcore."""
        return Connection(
            origin=origin,
            ssl_context=self._ssl_context,
            keepalive_expiry=self._keepalive_expiry,
            network_backend=self._network_backend,
        )


class Connection(httpcore.HTTPConnection):
    """Expires when unread bytes remain after a response."""

    def has_expired(self) -> bool:
        """Return whether the pool must close the connection; called by httpcore."""
        return super().has_expired() or (self.is_idle() and self._has_unread_bytes())

    def _has_unread_bytes(self) -> bool:
        # Private attributes, covered by a test: httpcore has no public access to h11's
        # trailing data. https://github.com/encode/httpcore/issues/872
        inner = self._connection
        return isinstance(inner, httpcore.HTTP11Connection) and bool(
            inner._h11_state.trailing_data[0]  # noqa: SLF001
        )
