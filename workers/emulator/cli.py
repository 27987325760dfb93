"""Command line arguments, shared by `manage.py` and `python -m`."""

import argparse
import logging
import tomllib
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from workers.emulator import config, engines, server

_TEXTS: dict[str, dict[str, str]] = tomllib.loads(
    Path(__file__).with_name("arguments.toml").read_text()
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `read_config`; omitted ones have the default of `Config`."""
    parser.add_argument(
        "--engine",
        choices=sorted(engines.MODULES),
        default=argparse.SUPPRESS,
        help="generated words (canned) or real recognition (pocketsphinx)",
    )
    for settings, table in ((config.Config, "config"), (config.Tuning, "tuning")):
        types = typing.get_type_hints(settings)
        for name, text in _TEXTS[table].items():
            parser.add_argument(
                f"--{name.replace('_', '-')}",
                type=_read_type(types[name]),
                default=argparse.SUPPRESS,
                help=text,
            )
    parser.add_argument(
        "--keys",
        type=_split_keys,
        default=argparse.SUPPRESS,
        help="accept only these keys, separated by commas",
    )
    parser.add_argument(
        "--projects",
        metavar="KEY=PROJECT",
        nargs="+",
        default=argparse.SUPPRESS,
        help="project of a key; other keys share the default project",
    )
    parser.add_argument(
        "--strict-urls",
        action="store_true",
        default=argparse.SUPPRESS,
        help="accept only public media URLs and Deepgram's four callback ports",
    )


def read_config(values: Mapping[str, Any]) -> config.Config:
    """Return the settings from parsed arguments, or raise InvalidTuning."""
    tuning = {name: values[name] for name in _TEXTS["tuning"] if name in values}
    names = (*_TEXTS["config"], "engine", "keys", "strict_urls")
    fixed = {name: values[name] for name in names if name in values}
    if "projects" in values:
        pairs = (pair.partition("=") for pair in values["projects"])
        fixed["projects"] = {key: project for key, _, project in pairs}
    return config.Config(tuning=config.Tuning().changed(tuning), **fixed)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the emulator without Django."""
    parser = argparse.ArgumentParser(
        prog="python -m workers.emulator",
        description="A Deepgram-compatible server for tests, load and the demo.",
    )
    add_arguments(parser)
    arguments = vars(parser.parse_args(argv))
    logging.basicConfig(level=logging.INFO)
    try:
        settings = read_config(arguments)
    except config.InvalidTuning as error:
        parser.error(str(error))
    server.run(settings)


def _read_type(hint: Any) -> Any:
    """Return the type of a setting, without None."""
    return next((each for each in typing.get_args(hint) if each), hint)


def _split_keys(text: str) -> frozenset[str]:
    return frozenset(key for key in text.split(",") if key)
