"""Every error of ours that a caller acts on. Status codes are not known here.

``code`` is stable and public; the message is a sentence for the person who reads it.
Messages never quote a URL's query string, a key or audio content.
"""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldError:
    """One thing that is wrong with a request, and where.

    ``/x`` points into the body (RFC 6901), ``?x`` is a parameter, else a header.
    """

    pointer: str
    code: str
    detail: str
    # Of a manifest; counted from 1.
    line: int | None = None


class PlatformError(Exception):
    """Something the caller can be told about."""

    code = "error"

    def __init__(self, message: str = "", *, code: str = "") -> None:
        text = message or (type(self).__doc__ or "").strip().splitlines()[0]
        super().__init__(text)
        self.code = code or self.code
        self.message = text


class InvalidRequest(PlatformError):
    """The request is not one we can take."""

    code = "invalid_request"

    def __init__(self, message: str = "", *, code: str = "", pointer: str = "") -> None:
        super().__init__(message, code=code)
        self.pointer = pointer

    @property
    def faults(self) -> Sequence[FieldError]:
        """Each thing that is wrong; none where it is no single place's fault."""
        if not self.pointer:
            return ()
        return (FieldError(pointer=self.pointer, code=self.code, detail=self.message),)


class ValidationErrors(InvalidRequest):
    """Some of the request is not as it should be."""

    def __init__(
        self, found: Sequence[FieldError], *, count: int | None = None
    ) -> None:
        only = found[0] if len(found) == 1 else None
        super().__init__(only.detail if only else "", code=only.code if only else "")
        self.found = found
        # How many there are; not all of them need be told.
        self.count = len(found) if count is None else count

    @property
    def faults(self) -> Sequence[FieldError]:
        """All that was found wrong."""
        return self.found


class UnsupportedAudio(InvalidRequest):
    """The file is not audio that can be read."""

    code = "audio_unreadable"


class UploadTooLarge(PlatformError):
    """The upload is larger than the platform takes."""

    code = "upload_too_large"


class NotFound(PlatformError):
    """There is nothing here by this id."""

    code = "not_found"


class Erased(PlatformError):
    """This was erased; nothing of it is kept."""

    code = "erased"


class Forbidden(PlatformError):
    """This key may not do that."""

    code = "forbidden"


class Conflict(PlatformError):
    """What is there does not allow this; whoever raises it names the code."""


class JobStateError(PlatformError):
    """The job's status does not allow this."""

    code = "job_state_conflict"


class StaleJobState(JobStateError):
    """Another process moved the job first."""

    code = "stale_job_state"


class IdempotencyConflict(PlatformError):
    """This Idempotency-Key was used before with another request."""

    code = "idempotency_key_reused"


class RangeNotSatisfiable(PlatformError):
    """The range begins behind the last byte; ``size`` says how many there are."""

    code = "range_not_satisfiable"

    def __init__(self, *, size: int) -> None:
        super().__init__(f"There are {size} bytes.")
        self.size = size


class LimitExceeded(PlatformError):
    """There is no more of this for now; ``retry_after`` says when, in seconds."""

    code = "quota_exceeded"

    def __init__(
        self, message: str = "", *, code: str = "", retry_after: int = 0
    ) -> None:
        super().__init__(message, code=code)
        self.retry_after = retry_after


class RequestInFlight(PlatformError):
    """A request with this Idempotency-Key is still being answered."""

    code = "request_in_flight"


class ServiceUnavailable(PlatformError):
    """The platform cannot take this now; try again shortly."""

    code = "service_unavailable"


class NotServedHere(PlatformError):
    """This process does not serve that; another of the platform's does."""

    code = "event_stream_unavailable"


class UpgradeRequired(PlatformError):
    """This address is a WebSocket: open it as one."""

    code = "upgrade_required"


class UpstreamError(PlatformError):
    """A call to Deepgram failed.

    Plain attributes only, so that it pickles (the SDK's own errors do not).
    ``failure`` is the class that ``jobs.backoff`` decides by.
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
    kind: type[UpstreamError], message: str, state: dict[str, object]
) -> UpstreamError:
    error = kind(message)
    error.__dict__.update(state)
    return error
