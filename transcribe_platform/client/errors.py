"""The client's exceptions, built from problem+json (RFC 9457).

Handle them by class or by ``code``, never by message.
"""

from collections.abc import Mapping, Sequence
from typing import TypedDict


class FieldProblem(TypedDict, total=False):
    """One invalid field of a request; ``line`` is the line of a manifest."""

    line: int
    pointer: str
    parameter: str
    header: str
    code: str
    detail: str


class ClientError(Exception):
    """Base class of the client's exceptions."""


class Unreachable(ClientError):
    """No response: connection failed or timed out."""


class NotThePlatform(ClientError):
    """The server at the URL is not the platform's API."""


class WaitedTooLong(ClientError):
    """The caller's timeout expired; the job or batch continues."""


class FileChanged(ClientError):
    """The file changed between hashing and upload."""


class ApiError(ClientError):
    """An error response of the API."""

    def __init__(
        self,
        *,
        status: int,
        code: str,
        detail: str,
        request_id: str = "",
        faults: Sequence[FieldProblem] = (),
        retry_after: float | None = None,
    ) -> None:
        super().__init__(f"{detail} ({code})")
        self.status = status
        self.code = code
        self.detail = detail
        self.request_id = request_id
        self.faults = faults
        self.retry_after = retry_after


class InvalidRequest(ApiError):
    """The request is invalid; ``faults`` lists the invalid fields."""


class NotAuthenticated(ApiError):
    """The API key is missing, invalid, expired or revoked."""


class NotPermitted(ApiError):
    """The API key lacks the required scope."""


class NotFound(ApiError):
    """The object does not exist or belongs to another tenant."""


class Erased(ApiError):
    """The content was erased."""


class Conflict(ApiError):
    """The current state of the object does not allow the request."""


class LimitExceeded(ApiError):
    """A quota or rate limit is exceeded; retry after ``retry_after`` seconds."""


class ServiceUnavailable(ApiError):
    """The platform is unavailable or failed internally."""


_BY_STATUS: Mapping[int, type[ApiError]] = {
    401: NotAuthenticated,
    403: NotPermitted,
    404: NotFound,
    409: Conflict,
    410: Erased,
    429: LimitExceeded,
}
_SERVER_ERROR = 500


def error_class(status: int) -> type[ApiError]:
    """Return the exception class of a status of 400 or more."""
    default = ServiceUnavailable if status >= _SERVER_ERROR else InvalidRequest
    return _BY_STATUS.get(status, default)
