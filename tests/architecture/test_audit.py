"""The audit of dependencies fails for a hole, and says aloud what it could not ask."""

import pytest

from tests import audit

CLEAN = {"name": "a", "version": "1", "vulns": []}
HOLE = {"name": "b", "version": "2", "vulns": [{"id": "CVE-1", "fix_versions": ["3"]}]}
SKIPPED = {"name": "c", "skip_reason": "not found"}


@pytest.mark.parametrize(
    ("found", "code", "said"),
    [
        ([CLEAN], 0, ""),
        ([CLEAN, HOLE], 1, "b 2: CVE-1"),
        ([HOLE, SKIPPED], 1, "1 of 2 packages of x.txt NOT AUDITED"),
        ([SKIPPED], 0, "WARNING: x.txt is NOT AUDITED"),
        ([], 0, "WARNING: x.txt is NOT AUDITED"),
    ],
)
def test_a_hole_fails_and_not_knowing_is_said(capsys, found, code, said):
    assert audit.judge("x.txt", found) == code
    assert said in capsys.readouterr().out
