"""Flower's login and mode, whoever starts it."""

import re

import pytest

from tests.support import ROOT
from transcribe_platform.celery import EXAMPLE_LOGIN, configure_flower

WORDS = ("/bin/celery", "-A", "transcribe_platform.celery", "flower")


def test_flower_is_read_only_whatever_its_environment_says():
    environment = {"FLOWER_BASIC_AUTH": "operator:own", "FLOWER_READ_ONLY": "0"}

    configure_flower(WORDS, environment)

    assert environment["FLOWER_READ_ONLY"] == "1"


@pytest.mark.parametrize("login", [{}, {"FLOWER_BASIC_AUTH": EXAMPLE_LOGIN}])
def test_flower_does_not_start_without_a_login_of_its_own(login):
    with pytest.raises(SystemExit, match="FLOWER_BASIC_AUTH"):
        configure_flower(WORDS, dict(login))


def test_other_processes_need_no_login_of_flower():
    environment = {}

    configure_flower(("/bin/celery", "worker"), environment)
    configure_flower(("/bin/pytest", "-k", "flower"), environment)

    assert environment == {}


def test_the_rejected_login_is_that_of_the_example():
    example = (ROOT / "deploy" / "env.example").read_text()

    assert re.search(rf"^FLOWER_BASIC_AUTH={EXAMPLE_LOGIN} ", example, re.MULTILINE)
