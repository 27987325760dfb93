"""Command line arguments, shared by `manage.py` and `python -m`."""

import argparse
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from workers.emulator import config, engines, server

_TUNING = (
    ("--concurrency", int, "concurrent calls per project; more get 429"),
    ("--rate-per-minute", int, "calls per project in 60 s; more get 429"),
    ("--retry-after", float, "Retry-After of a 429, in seconds (Deepgram sends none)"),
    ("--latency-base", float, "minimum duration of a call, in seconds"),
    ("--latency-per-second-of-audio", float, "additional seconds per second of audio"),
    ("--latency-min", float, "minimum of the random part, in seconds"),
    ("--latency-max", float, "maximum of the random part, in seconds"),
    ("--words", int, "words per channel, regardless of the duration (canned)"),
    ("--stream-concurrency", int, "concurrent live streams per project; more get 429"),
    ("--stream-idle-seconds", float, "close a stream after this long without messages"),
)
_FIXED = (
    ("--host", str, "address to listen on"),
    ("--port", int, "port to listen on, 0 for a free one"),
    ("--processes", int, "number of recogniser processes (pocketsphinx)"),
    ("--seed", int, "seed of random latencies and faults"),
    ("--log-size", int, "number of calls in the log"),
    ("--max-body-bytes", int, "respond 413 to larger audio"),
    ("--upload-timeout", float, "respond 408 after this long without data"),
    ("--fetch-timeout", float, "timeout of a media download, in seconds"),
    ("--fetch-cache-seconds", float, "cache downloaded media for this long"),
    ("--callback-retries", int, "number of callback retries"),
    ("--callback-interval", float, "seconds between callback attempts"),
    ("--temporary-directory", Path, "directory for large uploads"),
    ("--ready-file", Path, "write {url, pid} to this file when ready"),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `read_config`; omitted ones have the default of `Config`."""
    parser.add_argument(
        "--engine",
        choices=sorted(engines.MODULES),
        default=argparse.SUPPRESS,
        help="generated words (canned) or real recognition (pocketsphinx)",
    )
    for flag, kind, text in (*_FIXED, *_TUNING):
        parser.add_argument(flag, type=kind, default=argparse.SUPPRESS, help=text)
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
        help="require public media URLs and Deepgram's four callback ports",
    )


def read_config(values: Mapping[str, Any]) -> config.Config:
    """Return the settings from parsed arguments, or raise InvalidTuning."""
    tuning = {name: values[name] for name in map(_dest, _TUNING) if name in values}
    fixed = {name: values[name] for name in map(_dest, _FIXED) if name in values}
    for name in ("engine", "keys", "strict_urls"):
        if name in values:
            fixed[name] = values[name]
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


def _dest(argument: tuple[str, type, str]) -> str:
    return argument[0].removeprefix("--").replace("-", "_")


def _split_keys(text: str) -> frozenset[str]:
    return frozenset(key for key in text.split(",") if key)
