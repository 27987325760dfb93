"""What the embedded run decides before it starts anything."""

import json
import socket
import subprocess
from pathlib import Path

import pytest

from workers.embedded import plan as plans
from workers.embedded import run
from workers.embedded.plan import Options, make_plan
from workers.embedded.processes import EmbeddedError

URLS = {"DATABASE_URL": "postgresql://here/db", "REDIS_URL": "redis://here/0"}


def test_secrets_are_made_once_and_only_we_can_read_them(tmp_path: Path) -> None:
    path = tmp_path / "secrets.json"

    first = plans.load_secrets(path)

    assert plans.load_secrets(path) == first
    assert path.stat().st_mode & 0o777 == 0o600
    path.write_text(json.dumps({"secret_key": "kept"}))
    assert plans.load_secrets(path)["secret_key"] == "kept"


def test_without_a_deepgram_key_the_emulator_is_the_upstream(tmp_path: Path) -> None:
    plan = make_plan(Options(data_dir=tmp_path), urls=URLS, inherited={})

    assert plan.environment["DEEPGRAM_BASE_URL"] == plan.emulator
    assert plan.environment["DEEPGRAM_API_KEY"].startswith("emulator-")
    assert plan.environment["BASE_URL"] == plan.web
    assert plan.environment["MEDIA_ROOT"] == str(tmp_path / "media")


def test_what_the_operator_set_wins(tmp_path: Path) -> None:
    given = {"DEEPGRAM_API_KEY": "real", "SECRET_KEY": "mine", "LEASE_SECONDS": "9"}
    options = Options(data_dir=tmp_path, settings={"LEASE_SECONDS": "3"})

    plan = make_plan(options, urls=URLS, inherited=given)

    assert plan.emulator == ""
    assert "DEEPGRAM_BASE_URL" not in plan.environment
    assert plan.environment["SECRET_KEY"] == "mine"
    assert plan.environment["LEASE_SECONDS"] == "3"
    assert plan.environment.items() >= URLS.items()


def test_what_an_environment_leaves_empty_is_ours(tmp_path: Path) -> None:
    empty = {"SECRET_KEY": "", "DEEPGRAM_API_KEY": "", "TRUSTED_PROXIES": ""}

    plan = make_plan(Options(data_dir=tmp_path), urls=URLS, inherited=empty)

    kept = json.loads((tmp_path / "secrets.json").read_text())
    assert plan.environment["SECRET_KEY"] == kept["secret_key"]
    assert plan.environment["TRUSTED_PROXIES"] == ""


def test_a_taken_port_is_replaced_by_a_free_one(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        plan = make_plan(Options(data_dir=tmp_path, port=port), urls=URLS, inherited={})

        anywhere = make_plan(
            Options(data_dir=tmp_path, port=0), urls=URLS, inherited={}
        )

    assert plan.web_port != port
    assert anywhere.web_port > 0


def test_processes_share_compiled_code_where_the_shell_forbids_to_write_it(
    tmp_path: Path,
) -> None:
    given = {"PYTHONDONTWRITEBYTECODE": "1"}

    plan = make_plan(Options(data_dir=tmp_path), urls=URLS, inherited=given)

    assert "PYTHONDONTWRITEBYTECODE" not in plan.environment
    assert plan.environment["PYTHONPYCACHEPREFIX"] == str(tmp_path / "pycache")


def test_every_process_stops_before_what_it_stands_on(tmp_path: Path) -> None:
    plan = make_plan(Options(data_dir=tmp_path), urls=URLS, inherited={})
    stages = {
        program.name: program.stage
        for program in (plans.emulator(plan), *plans.engine(plan), plans.web(plan))
    }

    assert stages["web"] > stages["worker"] == stages["webhooks"] > stages["emulator"]
    assert set(stages) == {
        *("web", "worker", "webhooks", "dispatcher", "beat", "flower", "emulator")
    }


def test_no_secret_stands_on_a_command_line(tmp_path: Path) -> None:
    plan = make_plan(Options(data_dir=tmp_path), urls=URLS, inherited={})
    words = [
        word
        for program in (plans.emulator(plan), *plans.engine(plan), plans.web(plan))
        for word in program.command.argv
    ]

    kept = json.loads((tmp_path / "secrets.json").read_text())
    assert not [secret for secret in kept.values() if secret in " ".join(words)]


def test_while_it_runs_a_program_steers_it_from_another_terminal(
    tmp_path: Path,
) -> None:
    odd = {**URLS, "DEEPGRAM_API_KEY": "it's $ours", "PATH": "/usr/bin"}
    plan = make_plan(Options(data_dir=tmp_path), urls=URLS, inherited=odd)
    path = plan.options.script
    show = (
        "from django.conf import settings as s; print(s.DEEPGRAM_API_KEY, s.MEDIA_ROOT)"
    )

    with plans.manage_script(plan.options, plan.environment):
        mode = path.stat().st_mode & 0o777
        printed = subprocess.check_output(
            [path, "shell", "-v", "0", "--no-imports", "-c", show], text=True
        )

    assert mode == 0o700
    assert printed.split("\n")[0] == f"it's $ours {tmp_path / 'media'}"
    assert not path.exists()  # it would look for servers that are gone


def test_a_second_platform_on_the_same_folder_is_refused(tmp_path: Path) -> None:
    options = Options(data_dir=tmp_path)

    with (
        run.locked(options),
        pytest.raises(EmbeddedError, match="Another platform uses"),
        run.locked(options),
    ):
        pass
