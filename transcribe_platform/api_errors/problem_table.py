"""Every code that a caller can meet: what it means, and what to do about it.

The pages at ``/problems/{code}`` and the OpenAPI document are made of this. A test
compares it with the codes in the source, so that neither has one more.
"""

from dataclasses import dataclass

from transcribe_platform.api_errors.outcomes import OUTCOMES
from transcribe_platform.api_errors.request_problems import REQUESTS


@dataclass(frozen=True, slots=True)
class ProblemKind:
    """One code. Without a status it says how a job or a call ended, not a request."""

    code: str
    status: int | None
    title: str
    meaning: str
    remedy: str


_KINDS = [
    *(ProblemKind(*row) for row in REQUESTS),
    *(ProblemKind(code, None, *texts) for code, *texts in OUTCOMES),
]
PROBLEMS = {kind.code: kind for kind in _KINDS}


def title_of(code: str) -> str:
    """Return a code's title; one that the table lacks says itself."""
    kind = PROBLEMS.get(code)
    return kind.title if kind else code.replace("_", " ").capitalize()
