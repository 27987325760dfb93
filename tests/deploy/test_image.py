"""The Dockerfile's steps as plain commands in a clean folder, and what they make run by
somebody who owns none of it: there is no engine here to build the image itself."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import ROOT
from workers.embedded.binaries import can_reach, scratch_folder
from workers.embedded.probes import http_answers
from workers.embedded.processes import free_port, server_account, wait_until

DOCKERFILE = (ROOT / "Dockerfile").read_text().replace("\\\n", " ")
BUILD, FINAL = re.split(r"^FROM .*$", DOCKERFILE, flags=re.MULTILINE)[1:]
SETTINGS = {
    "SECRET_KEY": "abcdefghij" * 6,
    "FIELD_ENCRYPTION_KEYS": "A" * 43 + "=",
    "DATABASE_URL": "postgres://nobody@127.0.0.1:1/none",
    "REDIS_URL": "redis://127.0.0.1:1/0",
    "BASE_URL": "https://transcribe.example.com",
    "STORAGE_BACKEND": "transcribe_platform.s3.S3Storage",
    "S3_BUCKET": "recordings",
}
pytestmark = pytest.mark.timeout(500)


def steps(stage: str, kind: str) -> list[str]:
    return re.findall(rf"^{kind} (.*)$", stage, re.MULTILINE)


@pytest.fixture(scope="module")
def image() -> Iterator[Path]:
    """A folder that stands for the image's root: /venv, /app, /data, /tmp."""
    root = scratch_folder("transcribe-image-")
    root.chmod(0o755)
    for name in ("build", "app", "data", "tmp", "bin"):
        (root / name).mkdir()
    own = server_account()
    for name in ("data", "tmp") if own else ():
        os.chown(root / name, own.uid, own.gid)
    (root / "bin" / "python").symlink_to(python())
    for line in steps(BUILD, "COPY"):
        *sources, target = line.split()
        copy(root, sources, target)
    for line in steps(BUILD, "RUN"):
        run_step(root, line)
    yield root
    shutil.rmtree(root)


def python() -> str:
    """Return an interpreter that others than root can reach, if there is one."""
    found = [shutil.which("python3.11", path="/usr/local/bin:/usr/bin"), sys.executable]
    return next(
        path
        for path in found
        if (path and can_reach(Path(path))) or path == sys.executable
    )


def copy(root: Path, sources: list[str], target: str) -> None:
    there = root / "build" if target == "." else root / target.strip("/")
    tracked = subprocess.run(
        ["git", "ls-files", "-z", "--", *sources],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split("\0")
    for name in filter(None, tracked):
        source = next(s for s in sources if name.startswith(s))
        inner = name.removeprefix(source) if source.endswith("/") else Path(name).name
        (there / inner).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, there / inner)


def run_step(root: Path, line: str) -> None:
    here = re.sub(r"(?<![\w.])/(venv|app|build)\b", rf"{root}/\1", line)
    done = subprocess.run(
        ["sh", "-e", "-c", here],
        cwd=root / "build",
        env={
            **{k: v for k, v in os.environ.items() if k != "PYTHONPYCACHEPREFIX"},
            "PATH": f"{root}/bin:/usr/bin:/bin",
            "PIP_NO_CACHE_DIR": "1",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]


def start(root: Path, *words: str, **settings: str) -> subprocess.Popen[str]:
    """Start a command as the image would: as somebody else, its settings, its root."""
    own = server_account()
    made = dict(re.findall(r"([A-Z_]+)=(\S+)", " ".join(steps(FINAL, "ENV"))))
    made |= {"PATH": f"{root}/venv/bin:/usr/bin:/bin", "MEDIA_ROOT": f"{root}/data"}
    return subprocess.Popen(
        words,
        cwd=root / "app",
        env={**made, "HOME": "/tmp", "TMPDIR": f"{root}/tmp", **SETTINGS, **settings},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        user=own.uid if own else None,
        group=own.gid if own else None,
        extra_groups=[] if own else None,
    )


def say(root: Path, *words: str) -> str:
    with start(root, *words) as process:
        printed, _ = process.communicate(timeout=120)
    assert process.returncode == 0, printed
    return printed


def test_the_last_stage_brings_no_tools_and_no_root():
    assert "apt" not in DOCKERFILE
    assert "USER 10001:10001" in FINAL
    assert not [line for line in steps(FINAL, "RUN") if "pip" in line]
    assert "--require-hashes" in BUILD
    assert "--only-binary :all:" in BUILD


def test_only_what_is_copied_reaches_the_builder():
    allowed = {
        line[1:]
        for line in (ROOT / ".dockerignore").read_text().splitlines()
        if line.startswith("!")
    }
    copied = {word for line in steps(BUILD, "COPY") for word in line.split()[:-1]}

    assert allowed == copied


def test_its_command_finds_nothing_wrong(image):
    words = shlex.split(
        FINAL.partition("CMD ")[2].strip().strip("[]").replace(",", " ")
    )

    assert "no issues" in say(image, *words)


def test_every_process_finds_what_it_imports(image):
    modules = ("wsgi", "asgi", "celery", "s3", "client")
    names = ", ".join(f"transcribe_platform.{name}" for name in modules)
    say(image, "python", "-c", f"import {names}")
    for words in (
        ("granian", "--version"),
        ("celery", "--app=transcribe_platform.celery", "flower", "--help"),
        ("python", "manage.py", "run_dispatcher", "--help"),
        ("python", "-m", "workers.emulator", "--help"),
    ):
        say(image, *words)


def test_nothing_of_a_laptop_is_in_it(image):
    have = {path.name for path in (image / "venv" / "bin").iterdir()}

    assert have.isdisjoint({"pip", "pytest", "mypy", "ruff", "weed"})
    assert not list((image / "venv").glob("lib/*/site-packages/pip"))


def test_web_answers_as_somebody_who_owns_nothing(image):
    port = free_port()
    words = ("granian", "--interface", "wsgi", "transcribe_platform.wsgi:application")
    own = {"GRANIAN_HOST": "127.0.0.1", "GRANIAN_PORT": str(port)}
    process = start(image, *words, **own)
    try:
        url = f"http://127.0.0.1:{port}/health/live"
        assert wait_until(lambda: http_answers(url), seconds=60), process.poll()
    finally:
        process.terminate()
        process.communicate(timeout=30)

    # Byte code was made when it was built: nothing is left to write.
    assert list((image / "app").rglob("*.pyc"))
    owners = {path.stat().st_uid for path in (image / "app").rglob("*")}
    assert owners == {os.getuid()}
