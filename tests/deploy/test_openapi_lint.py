"""The OpenAPI document passes the linters that API portals use, without a warning."""

import shutil
import subprocess
from pathlib import Path

import pytest
from django.test import Client

RULES = Path(__file__).with_name("openapi")
SECONDS = 300


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install the pinned linters beside the document."""
    if shutil.which("npm") is None:
        pytest.skip("npm is not installed: the OpenAPI document is NOT linted")
    made = tmp_path_factory.mktemp("lint") / "openapi"
    shutil.copytree(RULES, made, ignore=shutil.ignore_patterns("node_modules"))
    run("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", cwd=made)
    (made / "openapi.json").write_bytes(Client().get("/v1/openapi.json").content)
    return made


def run(*words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        words, cwd=cwd, capture_output=True, text=True, check=False, timeout=SECONDS
    )
    assert done.returncode == 0, (done.stdout + done.stderr)[-5000:]
    return done


@pytest.mark.timeout(SECONDS)
@pytest.mark.parametrize(
    "command",
    [
        ("redocly", "lint", "openapi.json"),
        ("spectral", "lint", "--fail-severity=hint", "openapi.json"),
    ],
    ids=lambda command: command[0],
)
def test_the_document_has_no_errors_and_no_warnings(folder, command):
    done = run("npx", "--no-install", *command, cwd=folder)

    assert "You have" not in done.stdout + done.stderr, done.stdout
