"""The drift checks: what is written twice must agree."""

import ast
import inspect
import os
import re
import subprocess
from pathlib import Path

import pytest
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.management import call_command

from tests.support.python_process import run_python
from transcribe_platform import env
from transcribe_platform.celery import app

ROOT = Path(settings.BASE_DIR)


def test_the_env_example_lists_exactly_what_the_settings_read():
    source = (ROOT / "transcribe_platform" / "settings.py").read_text()
    read = set(re.findall(r'env_\w+\(\s*"([A-Z0-9_]+)"', source))
    example = (ROOT / "deploy" / "env.example").read_text()
    ours, _, _of_compose = example.partition("--- docker-compose.yml only")
    listed = set(re.findall(r"^([A-Z0-9_]+)=", ours, re.MULTILINE))

    assert listed == read


def test_the_drawing_of_the_statuses_is_current():
    call_command("state_diagram", check=True)


def test_every_task_takes_fields_it_does_not_know():
    app.loader.import_default_modules()
    ours = [
        task
        for name, task in app.tasks.items()
        if name.startswith(("workers.", "webhooks."))
    ]

    assert len(ours) >= 3
    for task in ours:
        kinds = [p.kind for p in inspect.signature(task.run).parameters.values()]
        assert inspect.Parameter.VAR_KEYWORD in kinds, task.name


@pytest.mark.parametrize("path", ["transcribe_platform/__init__.py"])
def test_nothing_runs_on_import_of_the_wiring(path):
    (docstring,) = ast.parse((ROOT / path).read_text()).body

    assert isinstance(docstring, ast.Expr)


def test_a_missing_setting_fails_with_a_sentence_that_says_how_to_mend_it():
    answer = run_python(["manage.py", "check"], environment={"PATH": "/usr/bin:/bin"})

    assert answer.returncode != 0
    assert "SECRET_KEY is not set. Set SECRET_KEY=" in answer.stderr
    assert "Traceback" not in answer.stderr


@pytest.mark.parametrize(
    ("name", "value"),
    [("EGRESS_ALLOW", "10.0.0.1/8"), ("EGRESS_PROXY", "https://proxy:3128")],
)
def test_a_broken_setting_fails_with_its_name(name, value):
    answer = run_python(["manage.py", "check"], environment={**os.environ, name: value})

    assert answer.returncode != 0
    assert f"{name}: " in answer.stderr
    assert "Traceback" not in answer.stderr


def test_no_file_names_a_package_registry():
    names = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split()
    hosts = re.compile("|".join(["py" + r"pi\.org", "python" + "hosted", "npm" + "js"]))

    bad = [n for n in names if (ROOT / n).exists() and hosts.search(_text(ROOT / n))]

    assert bad == []


def _text(path: Path) -> str:
    return path.read_text(errors="ignore")


def test_a_setting_that_is_no_network_is_said_at_the_start(monkeypatch):
    monkeypatch.setenv("TRUSTED_PROXIES", "10.0.0.0/8, 10.0.0.1/8")

    with pytest.raises(ImproperlyConfigured, match=r"TRUSTED_PROXIES: 10.0.0.1/8 has"):
        env.env_networks("TRUSTED_PROXIES")


def test_no_test_imports_from_a_conftest_or_from_another_test():
    bad = re.compile(
        r"^ *(?:from|import) (?:tests\.\S*\.)?(?:conftest|test_\w+)\b", re.M
    )

    named = [
        str(path.relative_to(ROOT))
        for path in (ROOT / "tests").rglob("*.py")
        if bad.search(path.read_text())
    ]

    assert named == []


def test_the_unit_tests_mirror_the_folders_of_the_packages():
    unit = ROOT / "tests" / "unit"

    folders = {path.parent.relative_to(unit) for path in unit.rglob("test_*.py")}

    assert [str(folder) for folder in folders if not (ROOT / folder).is_dir()] == []
