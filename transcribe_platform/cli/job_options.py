"""Command line options for jobs: Deepgram's, by name or with `-o`."""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import click

from transcribe_platform.client import JobRequest

Function = TypeVar("Function", bound=Callable[..., Any])
PRIORITIES = ("low", "normal", "high", "urgent")
_NUMBERS = frozenset({"utt_split", "sample_rate", "channels"})
_FLAGS = {
    "diarize": "Identify speakers.",
    "smart_format": "Format numbers, dates and the like.",
    "punctuate": "Add punctuation.",
    "paragraphs": "Split into paragraphs.",
    "utterances": "Split into utterances.",
    "multichannel": "Transcribe each channel separately.",
    "detect_language": "Detect the language.",
    "profanity_filter": "Remove profanity.",
}
_TEXTS = {
    "model": "nova-3, nova-2-phonecall …",
    "language": "en, de, pt-BR, multi …",
}
_MANY = {
    "keyterm": "A term to recognize; repeatable.",
    "redact": "Information to redact (pci, ssn …); repeatable.",
}


def request_options(function: Function) -> Function:
    """Decorate a command with the options for jobs."""
    decorators = [
        click.option(
            "-o",
            "--option",
            "raw",
            multiple=True,
            metavar="NAME=VALUE",
            help="Any Deepgram option: -o model=nova-3; repeatable.",
        ),
        *(_text(name, help_text) for name, help_text in _TEXTS.items()),
        *(_flag(name, help_text) for name, help_text in _FLAGS.items()),
        *(_many(name, help_text) for name, help_text in _MANY.items()),
        click.option("--priority", type=click.Choice(PRIORITIES)),
        click.option(
            "--metadata",
            multiple=True,
            metavar="NAME=VALUE",
            help="Metadata of the jobs; repeatable.",
        ),
        click.option(
            "--callback-url", metavar="URL", help="URL to notify when a job ends."
        ),
        click.option(
            "--region",
            "regions",
            multiple=True,
            help="Region that may run the job; repeatable.",
        ),
        click.option("--max-attempts", type=int, metavar="N"),
        click.option(
            "--expires-in",
            type=int,
            metavar="SECONDS",
            help="Expire jobs that have not started by then.",
        ),
    ]
    for decorate in reversed(decorators):
        function = decorate(function)
    return function


def build_request(named: Mapping[str, Any], *, nonce: str = "") -> JobRequest:
    """Return the request of these options; raises UsageError."""
    options: dict[str, Any] = {}
    for name in (*_TEXTS, *_FLAGS, *_MANY):
        value = named.get(name)
        if value is not None and value != ():
            options[name] = list(value) if isinstance(value, tuple) else value
    for option, value in split_pairs(named["raw"], "--option"):
        name = option.replace("-", "_")
        parsed = _parse_value(name, value)
        if name in options and name not in _FLAGS and name not in _TEXTS:
            previous = options[name] if isinstance(options[name], list) else None
            parsed = [*(previous or [options[name]]), parsed]
        options[name] = parsed
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
    """Return names and values; raises UsageError."""
    pairs = []
    for text in texts:
        name, equals, value = text.partition("=")
        if not name or not equals:
            message = f"{option} needs NAME=VALUE, such as model=nova-3, not {text!r}."
            raise click.UsageError(message)
        pairs.append((name.strip(), value))
    return pairs


def _parse_value(name: str, text: str) -> Any:
    """Return the value with the option's type; the platform validates it."""
    if text in {"true", "false"}:
        return text == "true"
    if name in _NUMBERS or text.startswith("["):
        try:
            return json.loads(text)
        except ValueError:
            return text
    return text


def _text(name: str, help_text: str) -> Callable[[Function], Function]:
    return click.option(f"--{name}", help=help_text, metavar="NAME")


def _flag(name: str, help_text: str) -> Callable[[Function], Function]:
    flag = name.replace("_", "-")
    return click.option(f"--{flag}/--no-{flag}", default=None, help=help_text)


def _many(name: str, help_text: str) -> Callable[[Function], Function]:
    return click.option(f"--{name}", multiple=True, metavar="TEXT", help=help_text)
