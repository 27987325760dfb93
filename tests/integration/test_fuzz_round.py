"""A short round of `make fuzz`, by a fixed seed."""

import os
import subprocess
import sys

import pytest

from tests.support import ROOT

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]
SIZE = {
    "FUZZ_SEED": "20261122",
    "FUZZ_MUTATIONS": "400",
    "FUZZ_WORST": "1",
    "CONFORMANCE_SECONDS": "4",
}


def test_bad_requests_and_answers_break_nothing_and_the_document_is_kept_to():
    ran = subprocess.run(
        [sys.executable, "-m", "tests.fuzz"],
        cwd=ROOT,
        env={**os.environ, **SIZE},
        capture_output=True,
        text=True,
        timeout=220,
        check=False,
    )

    assert ran.returncode == 0, ran.stdout[-8000:] + ran.stderr[-2000:]
    assert "380 requests over" in ran.stdout
    assert " worst cases (" in ran.stdout
    assert "No issues found" in ran.stdout
    assert ran.stdout.endswith("0 findings\n")
