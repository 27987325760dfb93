"""The ways in which a session ends. Pure; close codes are those of docs/live.md."""

from workers.api.live.wire_format import CloseReason

SHUTDOWN = CloseReason(reason="shutdown", code=1001)
CANCELED = CloseReason(reason="canceled", code=1000)
CLIENT_CLOSED = CloseReason(reason="client_closed")
CLIENT_GONE = CloseReason(reason="client_gone")
KEY_ENDED = CloseReason(
    reason="key_ended",
    code=4401,
    error_code="key_invalid",
    detail="The API key may not be used any more.",
)
SERVER_ERROR = CloseReason(
    reason="server_error",
    code=1011,
    error_code="server_error",
    detail="Something went wrong on our side.",
)
SLOW_READER = CloseReason(
    reason="slow_reader",
    code=4508,
    error_code="slow_reader",
    detail="The client does not read what it is told.",
)
FLOOD = CloseReason(
    reason="flood",
    code=4429,
    error_code="too_many_messages",
    detail="There were too many text messages.",
)


def frame_too_large(limit: int) -> CloseReason:
    """One message was longer than it may be."""
    return CloseReason(
        reason="frame_too_large",
        code=1009,
        error_code="frame_too_large",
        detail=f"A message has at most {limit} bytes.",
    )


SMALL_MESSAGES = CloseReason(
    reason="flood",
    code=4429,
    error_code="too_many_messages",
    detail="There were too many messages of few bytes: send 20 to 250 ms in each.",
)


def text_too_large(limit: int) -> CloseReason:
    """A text message was longer than a command can be."""
    return CloseReason(
        reason="frame_too_large",
        code=1009,
        error_code="frame_too_large",
        detail=f"A text message has at most {limit} characters.",
    )


def message_invalid(code: str, detail: str) -> CloseReason:
    """The client said something that means nothing here."""
    return CloseReason(
        reason="message_invalid", code=4400, error_code=code, detail=detail
    )


def idle(seconds: float) -> CloseReason:
    """Nothing came for too long."""
    return CloseReason(
        reason="idle",
        code=4408,
        error_code="stream_idle",
        detail=f"Nothing came for {seconds:g} s.",
    )


def no_audio(seconds: float, *, is_contended: bool = False) -> CloseReason:
    """The session was only kept alive: no audio came for too long."""
    reason = f"No audio came for {seconds:g} s"
    others = ", and other callers are waiting for a session" if is_contended else ""
    return CloseReason(
        reason="no_audio",
        code=4408,
        error_code="stream_without_audio",
        detail=f"{reason}{others}.",
    )


def too_long(seconds: float) -> CloseReason:
    """The session has had its time."""
    return CloseReason(
        reason="max_duration",
        code=4413,
        error_code="stream_too_long",
        detail=f"A session lasts {seconds:g} s at most.",
    )


def unavailable(code: str) -> CloseReason:
    """The platform cannot go on with it."""
    detail = "The platform cannot keep what is said now."
    return CloseReason(reason="unavailable", code=4503, error_code=code, detail=detail)


def upstream_failed(code: str, detail: str, *, is_clients: bool) -> CloseReason:
    """The upstream refused for good, or could not be had for too long."""
    return CloseReason(
        reason="upstream_failed",
        code=4400 if is_clients else 1011,
        error_code=code,
        detail=detail,
    )
