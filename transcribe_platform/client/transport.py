"""Send requests: one connection pool, retries, and errors from problem+json.

Knows HTTP and nothing of jobs. Safe for threads.
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
    Call,
    Patience,
    may_be_sent_again,
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
_ANSWER_SECONDS = 90.0  # more than the longest that ``Prefer: wait`` takes
_CONNECTIONS = 32
_BAD = 400
_REDIRECTED = range(300, 400)
_NOT_MODIFIED = 304


class Transport:
    """The way to one platform with one key."""

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
            message = f"{url!r} is no address such as https://transcribe.example.com"
            raise ValueError(message)
        if not (api_key.isascii() and api_key.isprintable()):
            raise ValueError("The API key has characters that no key has.")
        self.url = url.rstrip("/")
        self.api_key = api_key
        self._patience = patience or Patience()
        self._sleep = sleep
        self._was_reached = False
        self._http = httpx.Client(
            base_url=self.url,
            headers={"Authorization": f"Bearer {api_key}", "User-Agent": USER_AGENT},
            timeout=httpx.Timeout(_ANSWER_SECONDS, connect=_CONNECT_SECONDS),
            limits=httpx.Limits(max_connections=_CONNECTIONS),
        )

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def ask(self, call: Call) -> Any:
        """Return the JSON of the answer, or None if it has no body."""
        return read_json(self.send(call))

    def send(self, call: Call) -> httpx.Response:
        """Return the whole answer, sending again what may be; raises ClientError."""
        with self.stream(call) as answer:
            try:
                answer.read()
            except httpx.HTTPError as error:
                raise _unreachable(self.url, error) from error
            return answer

    @contextmanager
    def stream(self, call: Call) -> Iterator[httpx.Response]:
        """Yield an answer whose body is still to be read; raises ClientError."""
        with closing(self._open(call)) as answer:
            yield answer

    def stream_lines(self, call: Call) -> Iterator[Any]:
        """Yield what each line of the answer says in JSON; raises ClientError."""
        with self.stream(call) as answer:
            try:
                for line in answer.iter_lines():
                    yield json.loads(line)
            except httpx.HTTPError as error:
                raise _unreachable(self.url, error) from error

    def stream_bytes(self, call: Call) -> Iterator[bytes]:
        """Yield the answer piece by piece; raises ClientError."""
        with self.stream(call) as answer:
            try:
                yield from answer.iter_bytes()
            except httpx.HTTPError as error:
                raise _unreachable(self.url, error) from error

    def _open(self, call: Call) -> httpx.Response:
        sending = self._patience.sendings if call.is_sent_once else 0
        while True:
            sending += 1
            try:
                return self._send_once(call)
            except ApiError as error:
                again = may_be_sent_again(call, error.status, error.code)
                pause = self._patience.pause_after(sending, error.retry_after)
                if not again or pause is None:
                    raise
            except httpx.TransportError as error:
                is_unsent = isinstance(error, httpx.ConnectError | httpx.ConnectTimeout)
                pause = self._patience.pause_after(sending)
                if not self._was_reached and sending >= self._patience.knocks:
                    pause = None
                if not (call.is_repeatable or is_unsent) or pause is None:
                    raise _unreachable(self.url, error) from error
            self._sleep(pause)

    def _send_once(self, call: Call) -> httpx.Response:
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
        answer = self._http.send(request, stream=True)
        self._was_reached = True
        if answer.status_code >= _BAD or answer.status_code in _REDIRECTED:
            with closing(answer):
                answer.read()
            raise error_of(self.url, answer)
        return answer


def read_json(answer: httpx.Response) -> Any:
    """Return the JSON of a whole answer; raises NotThePlatform for anything else."""
    if not answer.content:
        return None
    try:
        return json.loads(answer.content)
    except ValueError as error:
        raise NotThePlatform(_strange(str(answer.request.url), answer)) from error


def error_of(url: str, answer: httpx.Response) -> ClientError:
    """Build the error that a refusal is raised as."""
    if answer.status_code in _REDIRECTED:
        message = f"{url} sends elsewhere: {answer.headers.get('Location', '')}"
        return NotThePlatform(message)
    retry_after = parse_retry_after(
        answer.headers.get("Retry-After"), now=datetime.now(UTC)
    )
    try:
        said = json.loads(answer.content)
        problem = cast("dict[str, Any]", said if isinstance(said, dict) else {})
    except ValueError:
        problem = {}
    status = answer.status_code
    if "code" not in problem and error_class(status) is not error_class(500):
        return NotThePlatform(_strange(url, answer))
    # A proxy in front may answer in its own words while nothing is behind it.
    return error_class(status)(
        status=status,
        code=str(problem.get("code", f"http_{status}")),
        detail=str(problem.get("detail", f"The server answered {status}.")),
        request_id=str(problem.get("request_id", "")),
        faults=problem.get("errors") or (),
        retry_after=retry_after,
    )


def _strange(url: str, answer: httpx.Response) -> str:
    kind = answer.headers.get("Content-Type", "nothing that says what it is")
    return f"{url} answered {answer.status_code} with {kind}: not the platform's API"


def _unreachable(url: str, error: Exception) -> Unreachable:
    return Unreachable(f"{url} cannot be reached: {error or type(error).__name__}")
