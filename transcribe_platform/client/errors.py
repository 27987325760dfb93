"""What can go wrong for a caller, one class for each thing that callers do about it.

Built from problem+json; decide by class or by ``code``, never by the texts.
"""

from collections.abc import Mapping, Sequence
from typing import TypedDict


class Fault(TypedDict, total=False):
    """One thing that is wrong with a request, and where; a manifest has lines."""

    line: int
    pointer: str
    parameter: str
    header: str
    code: str
    detail: str


class ClientError(Exception):
    """Anything that this client raises."""


class Unreachable(ClientError):
    """No answer came: no server there, no network, or too slow."""


class NotThePlatform(ClientError):
    """Something answered that is not the platform's API."""


class WaitedTooLong(ClientError):
    """The time that the caller gave is over; what was waited for goes on."""


class FileChanged(ClientError):
    """A file was not the same any more when it was sent."""


class ApiError(ClientError):
    """The platform refused a request, and said why."""

    def __init__(
        self,
        *,
        status: int,
        code: str,
        detail: str,
        request_id: str = "",
        faults: Sequence[Fault] = (),
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
    """The request is not one that the platform takes; ``faults`` says where."""


class NotAuthenticated(ApiError):
    """The key is missing, wrong, expired or revoked."""


class NotPermitted(ApiError):
    """The key is good, and may not do this."""


class NotFound(ApiError):
    """There is nothing by this id, or it is somebody else's."""


class Erased(ApiError):
    """It was erased."""


class Conflict(ApiError):
    """What is there does not allow this now."""


class LimitExceeded(ApiError):
    """A quota or a rate is used up; ``retry_after`` says when to come again."""


class ServiceUnavailable(ApiError):
    """The platform cannot take this now, or something is broken on its side."""


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
    """Return what a status of 400 or more is raised as."""
    broken = ServiceUnavailable if status >= _SERVER_ERROR else InvalidRequest
    return _BY_STATUS.get(status, broken)
