"""Open a tunnel through an HTTP proxy with CONNECT, for http and https URLs.

TLS runs inside the tunnel, so the receiver's certificate is verified as usual. Address
checks and time limits are the caller's.
"""

import h11
import httpcore

MAX_HEAD_BYTES = 16 * 1024


class ProxyFailed(httpcore.ConnectError):
    """The egress proxy is unavailable or violates the protocol."""


def open_tunnel(stream: httpcore.NetworkStream, *, host: str, port: int) -> int:
    """Send CONNECT and return the proxy's status; 2xx means that the tunnel is open."""
    target = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=MAX_HEAD_BYTES)
    request = h11.Request(method="CONNECT", target=target, headers=[("host", target)])
    try:
        stream.write(connection.send(request) or b"")
        status = _read_status(stream, connection)
    except (h11.RemoteProtocolError, httpcore.NetworkError) as error:
        raise ProxyFailed(error) from error
    if connection.trailing_data[0]:
        raise ProxyFailed("the proxy sent data before the tunnel was used")
    return status


def _read_status(stream: httpcore.NetworkStream, connection: h11.Connection) -> int:
    while True:
        event = connection.next_event()
        if event is h11.NEED_DATA:
            connection.receive_data(stream.read(MAX_HEAD_BYTES))
        elif isinstance(event, h11.Response):
            return event.status_code
