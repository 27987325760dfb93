"""Parses and checks the query parameters of a live call, as Deepgram does."""

from dataclasses import dataclass, replace
from typing import Any

from workers.emulator.engines.live import segments
from workers.emulator.live import turns
from workers.emulator.protocol import options, refusals

# Encodings without a container.
RAW_ENCODINGS = frozenset({"linear16", "linear32", "mulaw", "alaw"})
_NEEDS_RATE = RAW_ENCODINGS | {"amr-nb", "amr-wb", "opus", "speex", "g729"}
# File headers that clients omit from a stream of frames.
HEADS = {"amr-nb": b"#!AMR\n", "amr-wb": b"#!AMR-WB\n"}
_MIN_GAP_MS = 1000
_FLUX_ONLY = {"model", "language_hint", *turns.RANGES}


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveOptions:
    """The parameters of one live call."""

    options: options.Options
    event_settings: segments.EventSettings
    encoding: str
    is_multichannel: bool
    # Of a Flux stream.
    thresholds: dict[str, Any] | None = None


def parse_live_options(pairs: options.Pairs) -> LiveOptions:
    """Return the typed parameters, or raise Refused with a 400."""
    parsed = options.parse_options(pairs)
    last = dict(pairs)
    encoding = last.get("encoding", "")
    if parsed.shape.family == "whisper":
        raise refusals.Refused(refusals.NO_SUCH_MODEL)
    if parsed.callback:
        raise refusals.bad_request(
            "The emulator does not send live results to a callback."
        )
    if encoding in _NEEDS_RATE and "sample_rate" not in last:
        raise refusals.bad_request(f"Encoding {encoding} requires a sample_rate.")
    is_interim = _parse_flag(last, "interim_results")
    _parse_flag(last, "no_delay")
    return LiveOptions(
        options=parsed,
        event_settings=segments.EventSettings(
            is_interim=is_interim,
            has_vad_events=_parse_flag(last, "vad_events"),
            pause=_parse_pause(last.get("endpointing", "true")),
            utterance_gap=_parse_gap(
                last.get("utterance_end_ms"), is_interim=is_interim
            ),
        ),
        encoding=encoding,
        is_multichannel="multichannel" in parsed.shape.flags,
    )


def parse_flux_options(pairs: options.Pairs) -> LiveOptions:
    """Return the typed parameters of `/v2/listen`, or raise Refused with a 400."""
    thresholds = turns.parse_thresholds(pairs)
    model = dict(pairs)["model"]
    # Recognized like nova-3, with results four times a second.
    others = [(name, value) for name, value in pairs if name not in _FLUX_ONLY]
    parsed = parse_live_options(
        [*others, ("model", "nova-3"), ("interim_results", "true")]
    )
    shape = replace(parsed.options.shape, model=model)
    return replace(
        parsed, options=replace(parsed.options, shape=shape), thresholds=thresholds
    )


def _parse_flag(last: dict[str, str], name: str) -> bool:
    return options.parse_flag(last.get(name, "false"))


def _parse_pause(text: str) -> float | None:
    if text in options.BOOLEANS:
        return segments.MIN_PAUSE if options.BOOLEANS[text] else None
    return max(_milliseconds(text), segments.MIN_PAUSE)


def _parse_gap(text: str | None, *, is_interim: bool) -> float | None:
    if text is None or text == "false":
        return None
    seconds = _milliseconds(text)
    if seconds * 1000 < _MIN_GAP_MS:
        raise refusals.bad_request("utterance_end_ms must be at least 1000.")
    if not is_interim:
        raise refusals.bad_request("utterance_end_ms requires interim_results=true.")
    return seconds


def _milliseconds(text: str) -> float:
    return options.parse_whole(text) / 1000
