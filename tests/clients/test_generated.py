"""Clients generated from the OpenAPI document submit, poll and read transcripts.

`make clients` runs them: they need npm and generators from the registries.
"""

import json
import shutil
import subprocess
import venv
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support import ROOT

NODE = Path(__file__).parent / "node"
GENERATOR = ROOT / "requirements" / "generators.txt"
MINUTES = 10


def run(*words: Any, cwd: Path) -> str:
    done = subprocess.run(
        [str(word) for word in words],
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
        timeout=MINUTES * 60,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


@pytest.fixture(scope="session")
def document(
    platform: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Save the document of the running platform."""
    path = tmp_path_factory.mktemp("document") / "openapi.json"
    answer = httpx.get(f"{platform['web']}/v1/openapi.json", trust_env=False)
    path.write_bytes(answer.content)
    return path


@pytest.fixture(scope="session")
def node(document: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install the pinned packages; generate and compile the TypeScript clients."""
    if shutil.which("npm") is None:
        pytest.skip("npm is not installed: the clients for Node are NOT tested")
    folder = tmp_path_factory.mktemp("node") / "clients"
    shutil.copytree(NODE, folder, ignore=shutil.ignore_patterns("node_modules"))
    run("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", cwd=folder)
    run("npx", "openapi-typescript", document, "-o", "schema.d.ts", cwd=folder)
    run("npx", "openapi-ts", "-i", document, "-o", "hey", cwd=folder)
    run("npx", "tsc", cwd=folder)
    return folder


@pytest.mark.parametrize("program", ["submit_fetch", "submit_hey"])
@pytest.mark.timeout(MINUTES * 60)
def test_a_typescript_client_submits_by_url_and_by_file(
    platform, node, audio, audio_url, program
):
    key, base = platform["api_key"], platform["web"]

    out = run("node", f"built/{program}.js", base, key, audio_url, audio, cwd=node)

    by_url, by_file = json.loads(out)
    assert by_url == by_file != ""


@pytest.mark.timeout(MINUTES * 60)
def test_openais_sdk_for_node(platform, node, audio):
    out = run(
        "node", "openai_sdk.mjs", platform["web"], platform["api_key"], audio, cwd=node
    )

    found = json.loads(out)
    text = found["json"]["text"]
    assert text
    assert found["text"].strip() == text
    assert found["srt"].startswith("1\n")
    assert found["vtt"].startswith("WEBVTT")
    verbose = found["verbose_json"]
    assert (verbose["language"], verbose["text"]) == ("english", text)
    assert verbose["words"]
    assert verbose["segments"]
    assert found["diarized_json"]["segments"][0]["speaker"] == "A"
    *deltas, done = found["stream"]
    assert "".join(each["delta"] for each in deltas) == done["text"] == text
    assert {"whisper-1", "nova-3"} <= set(found["models"])
    assert found["error"] == {
        "name": "BadRequestError",
        "param": "response_format",
        "code": "invalid_value",
    }


@pytest.mark.timeout(MINUTES * 60)
def test_a_python_client_submits_by_url_and_by_file(
    platform, document, audio, audio_url, tmp_path
):
    environment = tmp_path / "venv"
    venv.create(environment, with_pip=True)
    python = environment / "bin" / "python"
    run(
        python,
        "-m",
        "pip",
        "install",
        "-q",
        "--require-hashes",
        "-r",
        GENERATOR,
        cwd=tmp_path,
    )
    run(
        *(
            environment / "bin" / "openapi-python-client",
            "generate",
            "--path",
            document,
        ),
        *("--output-path", tmp_path / "generated", "--meta", "none"),
        cwd=tmp_path,
    )
    program = Path(__file__).with_name("submit_generated.py")

    out = run(
        *(python, program, platform["web"], platform["api_key"], audio_url, audio),
        cwd=tmp_path,
    )

    by_url, by_file = json.loads(out)
    assert by_url == by_file != ""
