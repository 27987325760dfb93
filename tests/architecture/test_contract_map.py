"""The map from the contract to its tests names only tests that are there."""

import re
from pathlib import Path

TESTS = Path(__file__).parents[1]
PAGE = TESTS.parent / "docs" / "contract_tests.md"
NAMED = re.compile(r"`([a-z0-9_/]+\.py)::(\w+)`")


def test_every_test_that_the_map_names_is_there() -> None:
    named = set(NAMED.findall(PAGE.read_text()))
    missing = sorted(
        f"{path}::{name}"
        for path, name in named
        if not (TESTS / path).is_file()
        or f"def {name}(" not in (TESTS / path).read_text()
    )

    assert missing == []
    assert len(named) > 100


def test_every_line_of_the_map_names_a_test_or_says_why_not() -> None:
    lines = [line for line in PAGE.read_text().splitlines() if line.startswith("| ")]
    cases = [line for line in lines if not line.endswith("| test |")]

    assert [line for line in cases if "::" not in line] == []
