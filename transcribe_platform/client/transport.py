"""HTTP transport: connection pool, retries, and errors from problem+json.

Thread-safe.
"""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from typing import Any, cast
from urllib.parse import urlsplit

import httpx

from transcribe_platform.client.calls import (
    ApiRequest,
    Patience,
    can_retry,
    parse_retry_after,
)
from transcribe_platform.client.errors import (
    ApiError,
    ClientError,
    NotThePlatform,
    Unreachable,
    error_class,
)
from transcribe_platform.version import VERSION

USER_AGENT = f"transcribe-client/{VERSION}"
_CONNECT_SECONDS = 10.0
_RESPONSE_SECONDS = 90.0  # longer than the maximum of ``Prefer: wait``
_MAX_CONNECTIONS = 32
_CLIENT_ERROR = 400
_REDIRECTED = range(300, 400)
_NOT_MODIFIED = 304


class Transport:
    """Sends requests to one platform with one API key."""

    def __init__(
        self,
        url: str,
        api_key: str,
        *,
        patience: Patience | None = None,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            message = f"{url!r} is not a URL such as https://transcribe.example.com"
            raise ValueError(message)
        if not (api_key.isascii() and api_key.isprintable()):
            raise ValueError("The API key contains invalid characters.")
        self.url = url.rstrip("/")
        self.api_key = api_key
        self._patience = patience or Patience()
        self._sleep = sleep
        self._was_reached = False
        self._http = httpx.Client(
            base_url=self.url,
            headers={"Authorization": f"Bearer {api_key}", "User-Agent": USER_AGENT},
            timeout=httpx.Timeout(_RESPONSE_SECONDS, connect=_CONNECT_SECONDS),
            limits=httpx.Limits(max_connections=_MAX_CONNECTIONS),
        )

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def request_json(self, call: ApiRequest) -> Any:
        """Return the JSON of the response, or None if it has no body."""
        return read_json(self.send(call))

    def send(self, call: ApiRequest) -> httpx.Response:
        """Return the complete response; retries. Raises ClientError."""
        with self.stream(call) as response:
            try:
                response.read()
            except httpx.HTTPError as error:
                raise _unreachable(self.url, error) from error
            return response

    @contextmanager
    def stream(self, call: ApiRequest) -> Iterator[httpx.Response]:
        """Yield the response before its body is read; raises ClientError."""
        with closing(self._open(call)) as response:
            yield response

    def stream_lines(self, call: ApiRequest) -> Iterator[Any]:
        """Yield the JSON of each line of the response; raises ClientError."""
        with self.stream(call) as response:
            try:
                for line in response.iter_lines():
                    yield json.loads(line)
            except httpx.HTTPError as error:
                raise _unreachable(self.url, error) from error

    def stream_bytes(self, call: ApiRequest) -> Iterator[bytes]:
        """Yield the response body in chunks; raises ClientError."""
        with self.stream(call) as response:
            try:
                yield from response.iter_bytes()
            except httpx.HTTPError as error:
                raise _unreachable(self.url, error) from error

    def _open(self, call: ApiRequest) -> httpx.Response:
        attempt = self._patience.sendings if call.is_sent_once else 0
        while True:
            attempt += 1
            try:
                return self._send_once(call)
            except ApiError as error:
                is_retryable = can_retry(call, error.status, error.code)
                pause = self._patience.pause_after(attempt, error.retry_after)
                if not is_retryable or pause is None:
                    raise
            except httpx.TransportError as error:
                is_unsent = isinstance(error, httpx.ConnectError | httpx.ConnectTimeout)
                pause = self._patience.pause_after(attempt)
                if not self._was_reached and attempt >= self._patience.knocks:
                    pause = None
                if not (call.is_repeatable or is_unsent) or pause is None:
                    raise _unreachable(self.url, error) from error
            self._sleep(pause)

    def _send_once(self, call: ApiRequest) -> httpx.Response:
        timeout = self._http.timeout
        if call.timeout is not None:
            timeout = httpx.Timeout(call.timeout, connect=_CONNECT_SECONDS)
        request = self._http.build_request(
            call.method,
            call.path,
            params=dict(call.params) or None,
            headers=dict(call.headers),
            json=call.json,
            content=call.body() if call.body else None,
            timeout=timeout,
        )
        response = self._http.send(request, stream=True)
        self._was_reached = True
        if response.status_code >= _CLIENT_ERROR or response.status_code in _REDIRECTED:
            with closing(response):
                response.read()
            raise build_error(self.url, response)
        return response


def read_json(response: httpx.Response) -> Any:
    """Return the JSON of a complete response; raises NotThePlatform."""
    if not response.content:
        return None
    try:
        return json.loads(response.content)
    except ValueError as error:
        raise NotThePlatform(
            _describe_unexpected(str(response.request.url), response)
        ) from error


def build_error(url: str, response: httpx.Response) -> ClientError:
    """Return the exception for an error response."""
    if response.status_code in _REDIRECTED:
        message = f"{url} redirects to {response.headers.get('Location', '')}"
        return NotThePlatform(message)
    retry_after = parse_retry_after(
        response.headers.get("Retry-After"), now=datetime.now(UTC)
    )
    try:
        parsed = json.loads(response.content)
        problem = cast("dict[str, Any]", parsed if isinstance(parsed, dict) else {})
    except ValueError:
        problem = {}
    status = response.status_code
    if "code" not in problem and error_class(status) is not error_class(500):
        return NotThePlatform(_describe_unexpected(url, response))
    # A proxy in front of the platform responds with its own error bodies.
    return error_class(status)(
        status=status,
        code=str(problem.get("code", f"http_{status}")),
        detail=str(problem.get("detail", f"The server responded {status}.")),
        request_id=str(problem.get("request_id", "")),
        faults=problem.get("errors") or (),
        retry_after=retry_after,
    )


def _describe_unexpected(url: str, response: httpx.Response) -> str:
    kind = response.headers.get("Content-Type", "no content type")
    return f"{url} responded {response.status_code} with {kind}: not the platform's API"


def _unreachable(url: str, error: Exception) -> Unreachable:
    return Unreachable(f"{url} cannot be reached: {error or type(error).__name__}")
