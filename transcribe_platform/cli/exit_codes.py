"""Exit codes and error messages."""

from enum import IntEnum

from transcribe_platform.client.errors import (
    ApiError,
    ClientError,
    FieldProblem,
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
        "Set TRANSCRIBE_API_KEY to an API key of this platform, "
        "or run: transcribe configure",
    ),
    (NotPermitted, "Use an API key that has the required scope."),
    (
        Unreachable,
        "Check that the server is running, or set TRANSCRIBE_URL or --url; "
        "`make up` starts a server on this machine.",
    ),
    (NotThePlatform, "Check TRANSCRIBE_URL or --url: it is the URL without /v1."),
    (ServiceUnavailable, "Run the same command again later: it resumes."),
)


def choose_exit(error: ClientError) -> Exit:
    """Return the exit code of an error that ends the command."""
    for kind, code in _EXITS:
        if isinstance(error, kind):
            return code
    return Exit.SOME_FAILED


def explain(error: ClientError) -> list[str]:
    """Return the lines of the error message: problem, fields, advice."""
    lines = [str(error)]
    if isinstance(error, ApiError):
        lines += [
            f"  {_format_location(fault)}: {fault.get('detail', '')}"
            for fault in error.faults
            if fault.get("detail") != error.detail
            or len(error.faults) > 1
            or "line" in fault
        ]
    if isinstance(error, LimitExceeded) and error.retry_after:
        lines.append(
            f"Run the same command again in {_format_duration(error.retry_after)}."
        )
    lines += [advice for kind, advice in _ADVICE if isinstance(error, kind)]
    if isinstance(error, ServiceUnavailable) and error.request_id:
        lines.append(f"Request id: {error.request_id}")
    return lines


def _format_location(fault: FieldProblem) -> str:
    location = (
        fault.get("pointer") or fault.get("parameter") or fault.get("header") or ""
    )
    line = f"line {fault['line']} " if "line" in fault else ""
    return f"{line}{location}".strip() or "request"


def _format_duration(seconds: float) -> str:
    minutes = round(seconds / 60)
    return f"{minutes} minutes" if minutes > 1 else f"{seconds:.0f} seconds"
