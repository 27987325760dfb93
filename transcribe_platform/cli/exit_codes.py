"""How the command ends: the number for scripts, the sentence for people."""

from enum import IntEnum

from transcribe_platform.client.errors import (
    ApiError,
    ClientError,
    Fault,
    InvalidRequest,
    LimitExceeded,
    NotAuthenticated,
    NotFound,
    NotPermitted,
    NotThePlatform,
    ServiceUnavailable,
    Unreachable,
    WaitedTooLong,
)


class Exit(IntEnum):
    """The exit codes; docs/cli.md has the same table."""

    OK = 0
    SOME_FAILED = 1
    USAGE = 2
    NOT_ALLOWED = 3
    NOT_FOUND = 4
    UNAVAILABLE = 5
    LIMIT = 6
    INTERRUPTED = 130


_EXITS: tuple[tuple[type[ClientError], Exit], ...] = (
    (NotAuthenticated, Exit.NOT_ALLOWED),
    (NotPermitted, Exit.NOT_ALLOWED),
    (NotFound, Exit.NOT_FOUND),
    (LimitExceeded, Exit.LIMIT),
    (ServiceUnavailable, Exit.UNAVAILABLE),
    (Unreachable, Exit.UNAVAILABLE),
    (NotThePlatform, Exit.UNAVAILABLE),
    (WaitedTooLong, Exit.UNAVAILABLE),
    (InvalidRequest, Exit.USAGE),
)
_ADVICE: tuple[tuple[type[ClientError], str], ...] = (
    (
        NotAuthenticated,
        "Set TRANSCRIBE_API_KEY to a key of this platform, "
        "or run: transcribe configure",
    ),
    (NotPermitted, "Ask for a key with the scope that this needs."),
    (
        Unreachable,
        "Is it running there? TRANSCRIBE_URL or --url names another server; "
        "`make up` starts one on this machine.",
    ),
    (NotThePlatform, "Check TRANSCRIBE_URL or --url: it is the address before /v1."),
    (ServiceUnavailable, "Run the same command again in a while: it goes on."),
)


def exit_of(error: ClientError) -> Exit:
    """Return the exit code of an error that ends the command."""
    for kind, code in _EXITS:
        if isinstance(error, kind):
            return code
    return Exit.SOME_FAILED


def explain(error: ClientError) -> list[str]:
    """Return lines that say what is wrong, where, and what to do."""
    lines = [str(error)]
    if isinstance(error, ApiError):
        lines += [
            f"  {_place_of(fault)}: {fault.get('detail', '')}"
            for fault in error.faults
            if fault.get("detail") != error.detail
            or len(error.faults) > 1
            or "line" in fault
        ]
    if isinstance(error, LimitExceeded) and error.retry_after:
        lines.append(f"Run the same command again in {_span(error.retry_after)}.")
    lines += [advice for kind, advice in _ADVICE if isinstance(error, kind)]
    if isinstance(error, ServiceUnavailable) and error.request_id:
        lines.append(f"Request id: {error.request_id}")
    return lines


def _place_of(fault: Fault) -> str:
    place = fault.get("pointer") or fault.get("parameter") or fault.get("header") or ""
    line = f"line {fault['line']} " if "line" in fault else ""
    return f"{line}{place}".strip() or "there"


def _span(seconds: float) -> str:
    minutes = round(seconds / 60)
    return f"{minutes} minutes" if minutes > 1 else f"{seconds:.0f} seconds"
