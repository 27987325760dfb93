import argparse
from pathlib import Path

import pytest
from django.core.management import base, load_command_class

from workers.emulator import cli, config

EVERYTHING = (
    "--host 0.0.0.0 --port 0 --engine pocketsphinx --processes 3 --concurrency 100 "
    "--rate-per-minute 1000 --latency-base 0.3 --latency-per-second-of-audio 0.01 "
    "--latency-min 1 --latency-max 30 --keys a,b --projects a=x b=y --seed 7 "
    "--ready-file r.json --strict-urls --words 50"
)


def read(parser: argparse.ArgumentParser, arguments: list[str]) -> config.Config:
    return cli.read_config(vars(parser.parse_args(arguments)))


@pytest.fixture(params=["plain", "django"])
def parser(request) -> argparse.ArgumentParser:
    if request.param == "django":
        command = load_command_class("workers", "deepgram_emulator")
        return command.create_parser("manage.py", "deepgram_emulator")
    plain = argparse.ArgumentParser()
    cli.add_arguments(plain)
    return plain


def test_without_arguments_everything_is_at_its_default(parser):
    assert read(parser, []) == config.Config()


def test_every_argument_reaches_its_setting(parser):
    found = read(parser, EVERYTHING.split())

    assert (found.host, found.port, found.engine) == ("0.0.0.0", 0, "pocketsphinx")
    assert (found.processes, found.seed, found.strict_urls) == (3, 7, True)
    assert found.keys == {"a", "b"}
    assert found.projects == {"a": "x", "b": "y"}
    assert found.ready_file == Path("r.json")
    assert found.tuning == config.Tuning(
        concurrency=100,
        rate_per_minute=1000,
        latency_base=0.3,
        latency_per_second_of_audio=0.01,
        latency_min=1,
        latency_max=30,
        words=50,
    )


def test_the_command_names_a_senseless_setting():
    command = load_command_class("workers", "deepgram_emulator")

    with pytest.raises(base.CommandError, match="latency_min cannot be negative"):
        command.handle(latency_min=-1.0)
