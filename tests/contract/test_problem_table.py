"""The codes in the source and the table behind /problems are the same."""

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

from jobs.state import FINAL, JobStatus
from tests.support import ROOT
from transcribe_platform.api_errors.problem_table import PROBLEMS

PACKAGES = ("jobs", "transcripts", "workers", "transcribe_platform")
# The emulator speaks Deepgram's codes; migrations only name columns; the client and its
# command line answer nobody.
LEFT_OUT = ("emulator", "migrations", "client", "cli")
CODE = re.compile(r"[a-z]+(_[a-z]+)*")
NAMES = {"code", "default_code", "error_code"}
REFUSES = re.compile(r"_?(refuse|reject)")
# Names of dictionaries whose keys or values are codes.
CODE_TABLES = {"MESSAGES", "CODES", "_BY_STATUS", "RETRY_SECONDS"} | {
    *("DURATION_ESTIMATED", "DURATION_MISMATCH", "PARAMETER_IGNORED", "UNKNOWN_VALUE"),
}
# Codes that the source puts together, and those that DRF brings.
COMPOSED = {
    'f"job_{job.status}"': {f"job_{it}" for it in FINAL - {JobStatus.COMPLETED}},
    'f"parameter_{problem}"': {
        "parameter_invalid",
        "parameter_unknown",
        "parameter_repeated",
    },
}
OF_DRF = {
    "method_not_allowed",
    "not_acceptable",
    "unsupported_media_type",
}
# What stands where a code does and is none that anybody meets.
NO_CODES = {
    "sqlstate",  # an attribute of psycopg
    "error",  # what any error is called that is none of ours
    "category",  # and other words around codes
    "code",
    "required",
    "not_authenticated",  # DRF's names, which CODES translates
    "permission_denied",
    "parse_error",
    "audio_url",  # names of fields
    "expires_at",
    "callback_method",
    "page",
    "request_id",
    "err_code",  # names in Deepgram's answers
    "error_code",
}


def sources() -> Iterator[tuple[Path, ast.AST]]:
    for package in PACKAGES:
        for path in (ROOT / package).rglob("*.py"):
            parts = set(path.relative_to(ROOT).parts)
            if path.name != "hooks.py" and not parts & set(LEFT_OUT):
                yield path, ast.parse(path.read_text())


def constants(node: ast.AST | None) -> set[str]:
    """Return what looks like a code in an expression."""
    if node is None:
        return set()
    return {
        it.value
        for it in ast.walk(node)
        if isinstance(it, ast.Constant)
        and isinstance(it.value, str)
        and CODE.fullmatch(it.value)
    }


def codes_in(node: ast.AST) -> set[str]:
    """Return the codes that one node of the source gives."""
    match node:
        case ast.keyword(arg=name, value=value) if name in NAMES:
            return composed(value) | constants(value)
        case ast.Dict(keys=keys, values=values):
            pairs = zip(keys, values, strict=True)
            return set().union(*(constants(it) for key, it in pairs if is_code(key)))
        case ast.Call(func=ast.Name(id=name), args=args) if REFUSES.fullmatch(name):
            return set().union(*map(constants, args))
        case (
            ast.Assign(targets=[target], value=value)
            | ast.AnnAssign(target=target, value=ast.expr() as value)
        ):
            return of_assignment(target, value)
        case ast.FunctionDef(name=name) if name.startswith("_classify"):
            return set().union(*(constants(it) for it in returns(node)))
    return set()


def is_code(key: ast.AST | None) -> bool:
    return isinstance(key, ast.Constant) and key.value == "code"


def of_assignment(target: ast.AST, value: ast.AST) -> set[str]:
    names = {it.id for it in ast.walk(target) if isinstance(it, ast.Name)}
    return constants(value) if names & (NAMES | CODE_TABLES) else set()


def returns(node: ast.AST) -> Iterator[ast.AST]:
    return (it for it in ast.walk(node) if isinstance(it, ast.Return))


def composed(value: ast.AST) -> set[str]:
    if not isinstance(value, ast.JoinedStr):
        return set()
    return COMPOSED[ast.unparse(value).replace("'", '"')]


def codes_of_tables() -> dict[str, str]:
    """Return the codes that stand in data files."""
    errors, closings = (
        "workers/deepgram/errors.toml",
        "workers/api/live/close_reasons.toml",
    )
    reasons = tomllib.loads((ROOT / closings).read_text()).values()
    return {
        **dict.fromkeys(tomllib.loads((ROOT / errors).read_text()), errors),
        **dict.fromkeys(
            (it["error_code"] for it in reasons if "error_code" in it), closings
        ),
    }


def all_codes() -> dict[str, str]:
    found = dict.fromkeys(OF_DRF | set().union(*COMPOSED.values()), "composed")
    found |= codes_of_tables()
    for path, tree in sources():
        for node in ast.walk(tree):
            found |= dict.fromkeys(codes_in(node), str(path.relative_to(ROOT)))
    return {code: where for code, where in found.items() if code not in NO_CODES}


def test_the_table_has_exactly_the_codes_that_the_source_gives():
    given = all_codes()
    lacking = {code: it for code, it in given.items() if code not in PROBLEMS}

    assert lacking == {}, (
        "add them to transcribe_platform/api_errors/problems.toml;"
        " strings that are not codes belong in NO_CODES here"
    )
    assert set(PROBLEMS) - set(given) == set()
