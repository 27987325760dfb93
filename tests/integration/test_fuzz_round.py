"""A short round of `make fuzz`, by a fixed seed."""

import os
import subprocess
import sys

import pytest

from tests.support import ROOT

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("fuzz")]


def run(module, **settings):
    return subprocess.run(
        [sys.executable, "-m", module],
        cwd=ROOT,
        env={**os.environ, "FUZZ_SEED": "20261122", **settings},
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )


def test_bad_requests_and_answers_break_nothing():
    ran = run("tests.fuzz", FUZZ_MUTATIONS="400", FUZZ_WORST="1")

    assert ran.returncode == 0, ran.stdout[-6000:] + ran.stderr[-2000:]
    assert "380 requests over" in ran.stdout
    assert " worst cases (" in ran.stdout
    assert ran.stdout.endswith("0 findings\n")


def test_the_server_keeps_to_its_document():
    ran = run("tests.fuzz.conformance", CONFORMANCE_SECONDS="4")

    assert ran.returncode == 0, ran.stdout[-8000:] + ran.stderr[-2000:]
    assert "No issues found" in ran.stdout
