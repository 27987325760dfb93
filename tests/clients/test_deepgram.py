"""Deepgram's SDKs and clients of others, unmodified, against the running platform.

Each Python client gets a virtual environment from its lock. A complete run writes its
table into docs/deepgram_compatibility.md.
"""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support import ROOT

FOLDER = Path(__file__).parent / "deepgram"
PAGE = ROOT / "docs" / "deepgram_compatibility.md"
TABLE = re.compile(r"(<!-- clients: .*? -->\n).*?(<!-- end of clients -->)", re.DOTALL)
INSTALL_SECONDS, RUN_SECONDS = 900, 300


@dataclass(frozen=True, slots=True, kw_only=True)
class DeepgramClientRun:
    """A client: its package, its script, and the name that its script imports."""

    name: str
    package: str
    script: str
    sdk: str = ""


def python(name: str, package: str, script: str) -> DeepgramClientRun:
    return DeepgramClientRun(name=name, package=package, script=f"python/{script}.py")


def node(name: str, package: str, script: str) -> DeepgramClientRun:
    return DeepgramClientRun(
        name=name, package=package, script=f"node/{script}.mjs", sdk=name
    )


CLIENTS = [
    *(python(f"sdk-{n}", "deepgram-sdk", "sdk_7") for n in (7, 6, 5)),
    *(python(f"sdk-{n}", "deepgram-sdk", "sdk_3") for n in (4, 3)),
    node("deepgram-sdk-5", "@deepgram/sdk", "sdk_5"),
    *(node(f"deepgram-sdk-{n}", "@deepgram/sdk", "sdk_3") for n in (4, 3)),
    node("@ai-sdk/deepgram", "@ai-sdk/deepgram", "ai_sdk"),
    python("litellm", "litellm", "litellm_client"),
    python("livekit", "livekit-plugins-deepgram", "livekit_client"),
    python("pipecat", "pipecat-ai", "pipecat_client"),
]
LANGUAGES = {".py": "Python", ".mjs": "JavaScript"}
CONCERNS = {
    "file": "file",
    "file in chunks": "stream or generator",
    "URL": "URL",
    "callback": "callback",
    "token": "access token",
    "project": "project and requests",
    "models": "models",
    "error text": "error of a path that is not served",
    "live": "live",
    "Flux": "Flux",
    "options": "options",
}


def run(*words: Any, cwd: Path, seconds: int, **more: Any) -> str:
    """Run a program and return its output; it must succeed."""
    done = subprocess.run(
        [str(word) for word in words],
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
        timeout=seconds,
        **more,
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    return done.stdout


@pytest.fixture(scope="session")
def install(
    tmp_path_factory: pytest.TempPathFactory,
) -> Callable[[DeepgramClientRun], tuple[Path, Path, str]]:
    """Install a client; return the program, the script and the version."""
    folder = tmp_path_factory.mktemp("deepgram")
    uv = Path(sys.executable).with_name("uv")
    modules = folder / "node"

    def build_environment(client: DeepgramClientRun) -> tuple[Path, Path, str]:
        environment = folder / client.name
        program = environment / "bin" / "python"
        options = {"cwd": folder, "seconds": INSTALL_SECONDS}
        lock = FOLDER / "locks" / f"{client.name}.txt"
        run(uv, "venv", "--python", sys.executable, environment, **options)
        target = ("--python", program, "--require-hashes", "-r", lock)
        run(uv, "pip", "install", *target, **options)
        pin = re.search(rf"^{client.package}(?:\[.*\])?==(\S+)", lock.read_text(), re.M)
        assert pin
        return program, FOLDER / client.script, pin[1]

    def build_modules(client: DeepgramClientRun) -> tuple[Path, Path, str]:
        program = shutil.which("node")
        if program is None or shutil.which("npm") is None:
            pytest.skip("npm is not installed: the clients for Node are NOT tested")
        if not modules.exists():
            shutil.copytree(
                FOLDER / "node",
                modules,
                ignore=shutil.ignore_patterns("node_modules"),
            )
            words = ("ci", "--ignore-scripts", "--no-audit", "--no-fund")
            run("npm", *words, cwd=modules, seconds=INSTALL_SECONDS)
        manifest = modules / "node_modules" / client.sdk / "package.json"
        version = str(json.loads(manifest.read_text())["version"])
        return Path(program), modules / Path(client.script).name, version

    def install(client: DeepgramClientRun) -> tuple[Path, Path, str]:
        is_python = client.script.endswith(".py")
        return (build_environment if is_python else build_modules)(client)

    return install


@pytest.fixture(scope="session")
def rows() -> Iterator[dict[str, str]]:
    """Collect the rows of the table; write it if every client has one."""
    found: dict[str, str] = {}
    yield found
    if all(client.name in found for client in CLIENTS):
        lines = [found[client.name] for client in CLIENTS]
        head = "| client | version | language | what was run |\n|---|---|---|---|\n"
        table = head + "".join(f"{line}\n" for line in lines)
        page = PAGE.read_text()
        PAGE.write_text(TABLE.sub(lambda m: f"{m[1]}\n{table}\n{m[2]}", page))


@pytest.mark.timeout(INSTALL_SECONDS + 2 * RUN_SECONDS)
@pytest.mark.parametrize("client", CLIENTS, ids=lambda each: each.name)
def test_an_unmodified_client_works(client, install, platform, audio_url, audio, rows):
    program, script, version = install(client)

    output = run(
        program,
        script,
        cwd=script.parent,
        seconds=RUN_SECONDS,
        env={
            "BASE": platform["web"],
            "KEY": platform["api_key"],
            "AUDIO": str(audio),
            "AUDIO_URL": audio_url,
            "SDK": client.sdk,
            "HOME": str(script.parent),
            "PATH": "/usr/bin:/bin",
        },
    )

    checks = [json.loads(line) for line in output.splitlines() if '"check"' in line]
    assert checks
    assert [each for each in checks if not each["ok"]] == []
    language = LANGUAGES[script.suffix]
    done = ", ".join(CONCERNS[each["check"]] for each in checks)
    rows[client.name] = f"| `{client.package}` | {version} | {language} | {done} |"
