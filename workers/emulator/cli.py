"""The command line, shared by `manage.py` and `python -m`."""

import argparse
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from workers.emulator import config, engines, server

_TUNING = (
    ("--concurrency", int, "calls in flight per project before 429"),
    ("--rate-per-minute", int, "calls per project in any 60 s before 429"),
    ("--retry-after", float, "send Retry-After with a 429 (Deepgram does not)"),
    ("--latency-base", float, "seconds every call takes"),
    ("--latency-per-second-of-audio", float, "seconds more for each of the audio"),
    ("--latency-min", float, "lower end of a share drawn per call"),
    ("--latency-max", float, "upper end of it"),
    ("--words", int, "words per channel, whatever the duration (canned)"),
    ("--stream-concurrency", int, "live streams per project before 429"),
    ("--stream-idle-seconds", float, "silence after which a stream is closed"),
)
_FIXED = (
    ("--host", str, "address to listen on"),
    ("--port", int, "port to listen on, 0 for a free one"),
    ("--processes", int, "recogniser processes (pocketsphinx)"),
    ("--seed", int, "makes drawn latencies and faults repeat"),
    ("--log-size", int, "calls remembered for the log"),
    ("--max-body-bytes", int, "larger audio is refused with 413"),
    ("--upload-timeout", float, "seconds without a byte before 408"),
    ("--fetch-timeout", float, "seconds to download a media URL"),
    ("--fetch-cache-seconds", float, "do not download a URL again for so long"),
    ("--callback-retries", int, "how often a callback is tried again"),
    ("--callback-interval", float, "seconds between tries"),
    ("--temporary-directory", Path, "where large uploads are kept meanwhile"),
    ("--ready-file", Path, "write {url, pid} here once calls are served"),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what `read_config` reads; what is not given stays at its default."""
    parser.add_argument(
        "--engine",
        choices=sorted(engines.MODULES),
        default=argparse.SUPPRESS,
        help="canned words at once, or real recognition",
    )
    for flag, kind, text in (*_FIXED, *_TUNING):
        parser.add_argument(flag, type=kind, default=argparse.SUPPRESS, help=text)
    parser.add_argument(
        "--keys",
        type=_split_keys,
        default=argparse.SUPPRESS,
        help="the only keys accepted, separated by commas",
    )
    parser.add_argument(
        "--projects",
        metavar="KEY=PROJECT",
        nargs="+",
        default=argparse.SUPPRESS,
        help="keys with a project of their own; all others share one",
    )
    parser.add_argument(
        "--strict-urls",
        action="store_true",
        default=argparse.SUPPRESS,
        help="media must be publicly routable, callbacks on Deepgram's four ports",
    )


def read_config(given: Mapping[str, Any]) -> config.Config:
    """Return the settings from parsed arguments, or raise InvalidTuning."""
    tuning = {name: given[name] for name in map(_dest, _TUNING) if name in given}
    fixed = {name: given[name] for name in map(_dest, _FIXED) if name in given}
    for name in ("engine", "keys", "strict_urls"):
        if name in given:
            fixed[name] = given[name]
    if "projects" in given:
        pairs = (pair.partition("=") for pair in given["projects"])
        fixed["projects"] = {key: project for key, _, project in pairs}
    return config.Config(tuning=config.Tuning().changed(tuning), **fixed)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the emulator without Django."""
    parser = argparse.ArgumentParser(
        prog="python -m workers.emulator",
        description="A Deepgram-compatible server for tests, load and the demo.",
    )
    add_arguments(parser)
    given = vars(parser.parse_args(arguments))
    logging.basicConfig(level=logging.INFO)
    try:
        settings = read_config(given)
    except config.InvalidTuning as error:
        parser.error(str(error))
    server.run(settings)


def _dest(argument: tuple[str, type, str]) -> str:
    return argument[0].removeprefix("--").replace("-", "_")


def _split_keys(text: str) -> frozenset[str]:
    return frozenset(key for key in text.split(",") if key)
