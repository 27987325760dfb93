"""The reasons for closing a session, with the close codes of docs/live.md. Pure."""

from workers.api.live.wire_format import CloseReason

SHUTDOWN = CloseReason(reason="shutdown", code=1001)
CANCELED = CloseReason(reason="canceled", code=1000)
CLIENT_CLOSED = CloseReason(reason="client_closed")
CLIENT_GONE = CloseReason(reason="client_gone")
KEY_ENDED = CloseReason(
    reason="key_ended",
    code=4401,
    error_code="key_invalid",
    detail="The API key was revoked, has expired or lost its scope.",
)
SERVER_ERROR = CloseReason(
    reason="server_error",
    code=1011,
    error_code="server_error",
    detail="An error occurred on the server.",
)
SLOW_READER = CloseReason(
    reason="slow_reader",
    code=4508,
    error_code="slow_reader",
    detail="The client reads messages too slowly.",
)
FLOOD = CloseReason(
    reason="flood",
    code=4429,
    error_code="too_many_messages",
    detail="The client sent too many text messages.",
)


def frame_too_large(limit: int) -> CloseReason:
    """A binary message exceeded the limit."""
    return CloseReason(
        reason="frame_too_large",
        code=1009,
        error_code="frame_too_large",
        detail=f"A message may have at most {limit} bytes.",
    )


SMALL_MESSAGES = CloseReason(
    reason="flood",
    code=4429,
    error_code="too_many_messages",
    detail="Too many small messages. Send 20 to 250 ms of audio in each.",
)


def text_too_large(limit: int) -> CloseReason:
    """A text message exceeded the limit."""
    return CloseReason(
        reason="frame_too_large",
        code=1009,
        error_code="frame_too_large",
        detail=f"A text message may have at most {limit} characters.",
    )


def message_invalid(code: str, detail: str) -> CloseReason:
    """The client sent an invalid message."""
    return CloseReason(
        reason="message_invalid", code=4400, error_code=code, detail=detail
    )


def idle(seconds: float) -> CloseReason:
    """The client sent nothing for too long."""
    return CloseReason(
        reason="idle",
        code=4408,
        error_code="stream_idle",
        detail=f"The client sent nothing for {seconds:g} s.",
    )


def no_audio(seconds: float, *, is_contended: bool = False) -> CloseReason:
    """The client sent no audio for too long, at most keepalives."""
    reason = f"The client sent no audio for {seconds:g} s"
    others = ", and other callers are waiting for a session" if is_contended else ""
    return CloseReason(
        reason="no_audio",
        code=4408,
        error_code="stream_without_audio",
        detail=f"{reason}{others}.",
    )


def too_long(seconds: float) -> CloseReason:
    """The session reached its maximum duration."""
    return CloseReason(
        reason="max_duration",
        code=4413,
        error_code="stream_too_long",
        detail=f"A session may last at most {seconds:g} s.",
    )


def unavailable(code: str) -> CloseReason:
    """The platform cannot store more results."""
    detail = "The platform cannot store results at the moment."
    return CloseReason(reason="unavailable", code=4503, error_code=code, detail=detail)


def upstream_failed(code: str, detail: str, *, is_clients: bool) -> CloseReason:
    """Deepgram returned a final error, or was unavailable for too long."""
    return CloseReason(
        reason="upstream_failed",
        code=4400 if is_clients else 1011,
        error_code=code,
        detail=detail,
    )
