"""A connection pool that keeps no connection on which too much was said.

httpcore would take the bytes after one answer for the answer to the next request, which
may be another customer's message to the same host. A body after a 204 is enough.
"""

import httpcore


class Pool(httpcore.ConnectionPool):
    """httpcore's own, with connections that know when to end."""

    def create_connection(self, origin: httpcore.Origin) -> "Connection":
        """Return a connection for the origin; httpcore calls this."""
        return Connection(
            origin=origin,
            ssl_context=self._ssl_context,
            keepalive_expiry=self._keepalive_expiry,
            network_backend=self._network_backend,
        )


class Connection(httpcore.HTTPConnection):
    """Ends where bytes are left over once its answer is read."""

    def has_expired(self) -> bool:
        """Tell the pool whether to close it; one in use is in the midst of bytes."""
        return super().has_expired() or (self.is_idle() and self._has_surplus())

    def _has_surplus(self) -> bool:
        # Both attributes are private; a test covers them.
        # https://github.com/encode/httpcore/blob/1.0.9/httpcore/_sync/http11.py#L60
        inner = self._connection
        return isinstance(inner, httpcore.HTTP11Connection) and bool(
            inner._h11_state.trailing_data[0]  # noqa: SLF001
        )
