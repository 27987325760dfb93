"""What a command line asks of each job: Deepgram's options, by name or by `-o`."""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import click

from transcribe_platform.client import JobRequest

Function = TypeVar("Function", bound=Callable[..., Any])
PRIORITIES = ("low", "normal", "high", "urgent")
_NUMBERS = frozenset({"utt_split", "sample_rate", "channels"})
_FLAGS = {
    "diarize": "Tell speakers apart.",
    "smart_format": "Write numbers, dates and the like as people do.",
    "punctuate": "Set punctuation.",
    "paragraphs": "Make paragraphs.",
    "utterances": "Tell stretches of speech apart.",
    "multichannel": "Transcribe each channel by itself.",
    "detect_language": "Find out the language.",
    "profanity_filter": "Leave out profanity.",
}
_TEXTS = {
    "model": "nova-3, nova-2-phonecall …",
    "language": "en, de, pt-BR, multi …",
}
_MANY = {
    "keyterm": "A word to listen for; may be given again.",
    "redact": "What to leave out (pci, ssn …); may be given again.",
}


def request_options(function: Function) -> Function:
    """Give a command the options that say how audio is transcribed."""
    decorators = [
        click.option(
            "-o",
            "--option",
            "raw",
            multiple=True,
            metavar="NAME=VALUE",
            help="Any Deepgram option: -o model=nova-3; may be given again.",
        ),
        *(_text(name, shown) for name, shown in _TEXTS.items()),
        *(_flag(name, shown) for name, shown in _FLAGS.items()),
        *(_many(name, shown) for name, shown in _MANY.items()),
        click.option("--priority", type=click.Choice(PRIORITIES)),
        click.option(
            "--metadata",
            multiple=True,
            metavar="NAME=VALUE",
            help="Your own words for the jobs; may be given again.",
        ),
        click.option("--callback-url", metavar="URL", help="Where to tell of the end."),
        click.option(
            "--region",
            "regions",
            multiple=True,
            help="Where it may run; may be given again.",
        ),
        click.option("--max-attempts", type=int, metavar="N"),
        click.option(
            "--expires-in",
            type=int,
            metavar="SECONDS",
            help="Give up what has not begun by then.",
        ),
    ]
    for decorate in reversed(decorators):
        function = decorate(function)
    return function


def build_request(named: Mapping[str, Any], *, nonce: str = "") -> JobRequest:
    """Return what was asked for; raises UsageError for what makes no sense."""
    options: dict[str, Any] = {}
    for name in (*_TEXTS, *_FLAGS, *_MANY):
        value = named.get(name)
        if value is not None and value != ():
            options[name] = list(value) if isinstance(value, tuple) else value
    for said, value in split_pairs(named["raw"], "--option"):
        name = said.replace("-", "_")
        read = _parse_value(name, value)
        if name in options and name not in _FLAGS and name not in _TEXTS:
            before = options[name] if isinstance(options[name], list) else None
            read = [*(before or [options[name]]), read]
        options[name] = read
    return JobRequest(
        options=options,
        priority=named["priority"],
        metadata=dict(split_pairs(named["metadata"], "--metadata")),
        callback_url=named["callback_url"],
        allowed_regions=named["regions"],
        max_attempts=named["max_attempts"],
        expires_in_seconds=named["expires_in"],
        nonce=nonce,
    )


def split_pairs(texts: Sequence[str], option: str) -> list[tuple[str, str]]:
    """Return names and values; raises UsageError for text without either."""
    pairs = []
    for text in texts:
        name, equals, value = text.partition("=")
        if not name or not equals:
            message = f"{option} wants NAME=VALUE, such as model=nova-3; not {text!r}."
            raise click.UsageError(message)
        pairs.append((name.strip(), value))
    return pairs


def _parse_value(name: str, text: str) -> Any:
    """Return a value of the type that the option has; the platform checks it."""
    if text in {"true", "false"}:
        return text == "true"
    if name in _NUMBERS or text.startswith("["):
        try:
            return json.loads(text)
        except ValueError:
            return text
    return text


def _text(name: str, shown: str) -> Callable[[Function], Function]:
    return click.option(f"--{name}", help=shown, metavar="NAME")


def _flag(name: str, shown: str) -> Callable[[Function], Function]:
    words = name.replace("_", "-")
    return click.option(f"--{words}/--no-{words}", default=None, help=shown)


def _many(name: str, shown: str) -> Callable[[Function], Function]:
    return click.option(f"--{name}", multiple=True, metavar="TEXT", help=shown)
