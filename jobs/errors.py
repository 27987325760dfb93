"""Every error that API callers handle; the HTTP status is chosen elsewhere.

``code`` is stable and public. The message is a sentence for people; by default it is
the first line of the class's docstring. Messages never contain a URL's query string, a
key or audio content.
"""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldError:
    """One error of a request and its location.

    ``/x`` points into the body (RFC 6901), ``?x`` is a parameter, anything else a
    header.
    """

    pointer: str
    code: str
    detail: str
    # Line of a manifest, from 1.
    line: int | None = None


class PlatformError(Exception):
    """The request failed."""

    code = "error"

    def __init__(self, message: str = "", *, code: str = "") -> None:
        text = message or (type(self).__doc__ or "").strip().splitlines()[0]
        super().__init__(text)
        self.code = code or self.code
        self.message = text


class InvalidRequest(PlatformError):
    """The request is invalid."""

    code = "invalid_request"

    def __init__(self, message: str = "", *, code: str = "", pointer: str = "") -> None:
        super().__init__(message, code=code)
        self.pointer = pointer

    @property
    def field_errors(self) -> Sequence[FieldError]:
        """The errors by location; empty if the error has no location."""
        if not self.pointer:
            return ()
        return (FieldError(pointer=self.pointer, code=self.code, detail=self.message),)


class ValidationErrors(InvalidRequest):
    """The request has invalid fields."""

    def __init__(
        self, errors: Sequence[FieldError], *, count: int | None = None
    ) -> None:
        only = errors[0] if len(errors) == 1 else None
        super().__init__(only.detail if only else "", code=only.code if only else "")
        self.errors = errors
        # The total; ``errors`` may be truncated.
        self.count = len(errors) if count is None else count

    @property
    def field_errors(self) -> Sequence[FieldError]:
        """The errors by location."""
        return self.errors


class UnsupportedAudio(InvalidRequest):
    """The file is not readable audio."""

    code = "audio_unreadable"


class UploadTooLarge(PlatformError):
    """The upload is too large."""

    code = "upload_too_large"


class NotFound(PlatformError):
    """No object with this id exists."""

    code = "not_found"


class Erased(PlatformError):
    """The object was erased."""

    code = "erased"


class Forbidden(PlatformError):
    """This API key may not do that."""

    code = "forbidden"


class Conflict(PlatformError):
    """The state of the object does not allow this request."""


class JobStateError(PlatformError):
    """The job's status does not allow this request."""

    code = "job_state_conflict"


class StaleJobState(JobStateError):
    """The job changed concurrently."""

    code = "stale_job_state"


class IdempotencyConflict(PlatformError):
    """This Idempotency-Key was used with a different request."""

    code = "idempotency_key_reused"


class RangeNotSatisfiable(PlatformError):
    """The range starts after the last byte; ``size`` is the object's size."""

    code = "range_not_satisfiable"

    def __init__(self, *, size: int) -> None:
        super().__init__(f"The range starts after the last of {size} bytes.")
        self.size = size


class LimitExceeded(PlatformError):
    """A limit is reached; ``retry_after`` is in seconds, 0 if a retry is useless."""

    code = "quota_exceeded"

    def __init__(
        self, message: str = "", *, code: str = "", retry_after: int = 0
    ) -> None:
        super().__init__(message, code=code)
        self.retry_after = retry_after


class RequestInFlight(PlatformError):
    """A request with this Idempotency-Key is still in progress."""

    code = "request_in_flight"


class ServiceUnavailable(PlatformError):
    """The service is unavailable; retry shortly."""

    code = "service_unavailable"


class NotServedHere(PlatformError):
    """Another process of the platform serves this endpoint."""

    code = "event_stream_unavailable"


class UpgradeRequired(PlatformError):
    """This URL is a WebSocket endpoint: connect with a WebSocket client."""

    code = "upgrade_required"


class UpstreamError(PlatformError):
    """A call to Deepgram failed.

    Plain attributes only, so that it can be pickled (the SDK's own errors cannot).
    ``failure`` is a ``jobs.backoff.Failure``.
    """

    code = "upstream_error"

    def __init__(
        self,
        message: str = "",
        *,
        code: str = "",
        failure: str = "unavailable",
        status: int | None = None,
        request_id: str = "",
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message, code=code)
        self.failure = failure
        self.status = status
        self.request_id = request_id
        self.retry_after = retry_after

    def __reduce__(self) -> tuple[object, ...]:
        return (_rebuild, (type(self), self.message, self.__dict__))


def _rebuild(
    error_class: type[UpstreamError], message: str, state: dict[str, object]
) -> UpstreamError:
    error = error_class(message)
    error.__dict__.update(state)
    return error
