"""The first `make` in a clone leaves a command that runs, from any folder."""

import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

import pytest

from tests.support import ROOT

NOBODY = 65534
# Stands for the interpreter and installs nothing: the packages are those of the tests.
PYTHON = """\
#!/bin/sh
[ "$1 $2" = "-m venv" ] || exec "{python}" "$@"
"{python}" -m venv --without-pip "$3" || exit
echo "{packages}" > "$(echo "$3"/lib/python*/site-packages)/tests.pth"
cp requirements/demo.txt "$3/.demo.installed"
"""


@pytest.fixture
def clone():
    """Copy what git knows of this folder to one with a space in its path."""
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=False
    )
    if listed.returncode:
        pytest.skip("not a git clone")
    with tempfile.TemporaryDirectory() as above:
        Path(above).chmod(0o755)
        folder = Path(above) / "a clone"
        for name in listed.stdout.decode().split("\0"):
            if name.startswith(("transcribe_platform/", "requirements/", "Makefile")):
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(ROOT / name, folder / name)
        python = Path(above) / "python"
        packages = sysconfig.get_path("purelib")
        python.write_text(PYTHON.format(python=sys.executable, packages=packages))
        python.chmod(0o755)
        subprocess.run(
            ["make", "-s", "venv-demo", f"PYTHON={python}"],
            cwd=folder,
            env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
            check=True,
        )
        yield folder


def run_version(command, **how):
    return subprocess.run(
        [command, "--version"],
        env={"PATH": "/usr/bin:/bin"},
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
        **how,
    )


def test_the_command_runs_from_a_fresh_clone(clone):
    command = clone / ".venv" / "bin" / "transcribe"
    link = clone.parent / "link"
    link.symlink_to(command)

    assert run_version(command).stdout.startswith("transcribe, version")
    assert run_version(link).stdout == run_version(command).stdout

    moved = clone.rename(clone.parent / "moved")
    assert run_version(moved / ".venv" / "bin" / "transcribe").returncode == 0


def test_an_ordinary_user_runs_it(clone):
    if os.geteuid() != 0:
        pytest.skip("every user here is an ordinary one")
    python = clone / ".venv" / "bin" / "python"
    try:
        subprocess.run([python, "-c", ""], user=NOBODY, check=True, capture_output=True)
    except (PermissionError, subprocess.CalledProcessError):
        pytest.skip("the interpreter is in a folder that is closed to others")

    ran = run_version(clone / ".venv" / "bin" / "transcribe", user=NOBODY)

    assert ran.returncode == 0, ran.stderr
