"""Error codes, read from ``problems.toml`` beside this module.

The pages at ``/problems/{code}`` and the OpenAPI document use this table. A test checks
that it has exactly the codes in the source.
"""

import tomllib
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class ProblemKind:
    """One code. A code without a status is the outcome of a job, call or session."""

    code: str
    status: int | None = None
    title: str
    meaning: str
    remedy: str


_TABLE = tomllib.loads(Path(__file__).with_name("problems.toml").read_text("utf-8"))
PROBLEMS = {code: ProblemKind(code=code, **row) for code, row in _TABLE.items()}


def get_title(code: str) -> str:
    """Return the title of a code, or the code in words if the table lacks it."""
    kind = PROBLEMS.get(code)
    return kind.title if kind else code.replace("_", " ").capitalize()
