"""What cannot be run without an engine or a cluster, read by the programs themselves."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from deploy.local import compose
from tests.support import ROOT

BIN = Path(sys.executable).parent
EXAMPLE = (ROOT / ".env.example").read_text()
YAML_RULES = """{extends: default, rules: {
  line-length: {max: 120}, document-start: disable, comments: {min-spaces-from-content: 1},
  truthy: {check-keys: false}, indentation: {indent-sequences: whatever}}}"""


def run(*words: str | Path, **settings: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(word) for word in words],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": f"{BIN}:{os.environ['PATH']}", "HOME": "/nonexistent", **settings},
    )


def fill(example: str) -> str:
    """Return the example with every value that is left empty on purpose."""
    names = "SECRET_KEY|FIELD_ENCRYPTION_KEYS|S3_ACCESS_KEY|S3_SECRET_KEY|\\w+_PASSWORD"
    return re.sub(rf"^({names})=.*", r"\1=abc", example, flags=re.MULTILINE)


def docker_compose(
    folder: Path, env: str, *more: str
) -> subprocess.CompletedProcess[str]:
    shutil.copy(ROOT / "docker-compose.yml", folder)
    (folder / ".env").write_text(env)
    words = ("--project-directory", folder, "--profile", "emulator", "config", *more)
    return run("docker-compose", *words)


def test_the_dockerfile():
    done = run("hadolint", "Dockerfile")

    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_the_compose_file_with_the_example_filled_in(tmp_path):
    done = docker_compose(tmp_path, fill(EXAMPLE))

    assert done.stderr == ""
    assert "replicas: 2" in done.stdout
    assert '"#' not in done.stdout
    assert "'#" not in done.stdout


def test_our_own_reading_of_the_compose_file_is_compose_s(tmp_path):
    done = docker_compose(tmp_path, fill(EXAMPLE), "--format", "json")
    theirs = json.loads(done.stdout)["services"]
    values = theirs["web"]["environment"]  # all of .env among them

    for service in compose.read_services(values):
        other = theirs[service.name]
        assert list(service.command) == other["command"]
        assert service.environment.items() <= other["environment"].items()
        assert service.replicas == other["deploy"].get("replicas", 1)
    assert compose.read_command("s3") == theirs["s3"]["command"]


@pytest.mark.parametrize(
    "name", ["POSTGRES_PASSWORD", "REDIS_PASSWORD", "S3_SECRET_KEY", "GRAFANA_PASSWORD"]
)
def test_the_compose_file_starts_nothing_without_a_password(tmp_path, name):
    env = re.sub(rf"^{name}=.*", f"{name}=", fill(EXAMPLE), flags=re.MULTILINE)

    done = docker_compose(tmp_path, env)

    # The wheel's wrapper keeps the exit status to itself.
    assert done.stdout == ""
    assert f"required variable {name} is missing" in done.stderr


@pytest.mark.parametrize("tls", [False, True])
def test_the_front_doors_configuration(tmp_path, tls):
    if not shutil.which("haproxy"):
        pytest.skip("haproxy is not installed: haproxy.cfg is NOT tested")
    binds = {
        name: f"127.0.0.1:{port}"
        for port, name in enumerate(("HTTP_BIND", "HTTPS_BIND", "ABOUT_BIND"), 1)
    }
    if tls:
        binds["TLS_CERTIFICATE"] = str(make_certificate(tmp_path))

    done = run("haproxy", "-c", "-V", "-f", "deploy/haproxy/haproxy.cfg", **binds)

    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr


def make_certificate(folder: Path) -> Path:
    made = folder / "site.pem"
    run(
        *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt"),
        *("ec_paramgen_curve:prime256v1", "-nodes", "-subj", "/CN=localhost"),
        *("-keyout", made.with_suffix(".key"), "-out", made),
    )
    made.write_text(made.read_text() + made.with_suffix(".key").read_text())
    return made


def test_shell_and_yaml():
    assert run("shellcheck", ".ci/run", "deploy/run_processes").stdout == ""
    files = [
        "docker-compose.yml",
        ".pre-commit-config.yaml",
        *ROOT.glob("deploy/helm/*.yaml"),
    ]
    assert run("yamllint", "--strict", "-d", YAML_RULES, *files).stdout == ""
