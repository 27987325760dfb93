from pathlib import Path

import pytest

from transcribe_platform.cli import config
from transcribe_platform.cli.config import ConfigError, find_connection

FILE = """
profile = "work"
[profiles.work]
url = "https://work.example"
api_key = "key-of-work"
[profiles.home]
url = "http://127.0.0.1:9000"
api_key = "key-of-home"
"""


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    path = tmp_path / "transcribe" / "config.toml"
    path.parent.mkdir()
    path.write_text(FILE)
    path.chmod(0o600)
    return {"XDG_CONFIG_HOME": str(tmp_path)}


@pytest.mark.parametrize(
    ("said", "variables", "url", "key"),
    [
        ({}, {}, "https://work.example", "key-of-work"),
        ({"profile": "home"}, {}, "http://127.0.0.1:9000", "key-of-home"),
        ({}, {"TRANSCRIBE_PROFILE": "home"}, "http://127.0.0.1:9000", "key-of-home"),
        ({}, {"TRANSCRIBE_API_KEY": "k"}, config.DEFAULT_URL, "k"),
        (
            {"url": "https://x.example"},
            {"TRANSCRIBE_API_KEY": "k", "TRANSCRIBE_URL": "https://y.example"},
            "https://x.example",
            "k",
        ),
        (  # who names a profile means all of it
            {"profile": "home"},
            {"TRANSCRIBE_API_KEY": "k", "TRANSCRIBE_URL": "https://y.example"},
            "http://127.0.0.1:9000",
            "key-of-home",
        ),
    ],
)
def test_what_is_said_nearer_wins(environment, said, variables, url, key):
    found = find_connection(
        **{"url": None, "profile": None, **said}, environment=environment | variables
    )

    assert (found.url, found.api_key, found.warning) == (url, key, "")


@pytest.mark.parametrize(
    ("said", "variables"),
    [
        ({"url": "https://elsewhere.example"}, {}),
        ({}, {"TRANSCRIBE_URL": "https://elsewhere.example"}),
    ],
)
def test_a_key_from_the_file_goes_nowhere_but_to_its_own_address(
    environment, said, variables
):
    with pytest.raises(ConfigError, match=r"is for https://work\.example, not for"):
        find_connection(
            **{"url": None, "profile": None, **said},
            environment=environment | variables,
        )


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "No API key is configured"),
        ("not toml", "cannot be read"),
        ('profile = "gone"', "Profile 'gone' is not in"),
    ],
)
def test_a_file_that_does_not_help_is_said_to(environment, content, said):
    config.config_path(environment).write_text(content)

    with pytest.raises(ConfigError, match=said):
        find_connection(url=None, profile=None, environment=environment)


def test_what_is_written_is_read_again_and_only_by_its_owner(environment):
    path = config.config_path(environment)

    config.write_profile(
        path, name='odd "name"', url="https://x.example", api_key="k\\2"
    )

    found = find_connection(url=None, profile=None, environment=environment)
    assert (found.url, found.api_key) == ("https://x.example", "k\\2")
    assert path.stat().st_mode & 0o777 == 0o600
    work = find_connection(url=None, profile="work", environment=environment)
    assert work.api_key == "key-of-work"


def test_a_file_that_others_can_read_is_warned_of(environment):
    config.config_path(environment).chmod(0o644)

    found = find_connection(url=None, profile=None, environment=environment)

    assert "chmod 600" in found.warning
