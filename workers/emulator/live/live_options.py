"""Query parameters that only a live call has, checked as Deepgram checks them. Pure."""

from dataclasses import dataclass

from workers.emulator.engines.live import segments
from workers.emulator.protocol import options, refusals

# Containerless, so that nothing in the stream tells the rate.
RAW_ENCODINGS = frozenset({"linear16", "linear32", "mulaw", "alaw"})
_NEEDS_RATE = RAW_ENCODINGS | {"amr-nb", "amr-wb", "opus", "speex", "g729"}
# What a stream of frames alone lacks of the format in which they are stored.
HEADS = {"amr-nb": b"#!AMR\n", "amr-wb": b"#!AMR-WB\n"}
_SHORTEST_GAP_MS = 1000
_BOOLEANS = {"true": True, "false": False}


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """Hold what one live call asks for."""

    options: options.Options
    manner: segments.Manner
    encoding: str
    is_multichannel: bool


def parse_wishes(pairs: options.Pairs) -> Wishes:
    """Return the typed parameters, or raise Refused with a 400."""
    parsed = options.parse_options(pairs)
    last = dict(pairs)
    encoding = last.get("encoding", "")
    if parsed.shape.family == "whisper":
        raise refusals.Refused(refusals.NO_SUCH_MODEL)
    if parsed.callback:
        raise refusals.Refused(
            refusals.bad_request("The emulator sends no live results to a callback.")
        )
    if encoding in _NEEDS_RATE and "sample_rate" not in last:
        raise refusals.Refused(
            refusals.bad_request(f"Encoding {encoding} requires a sample_rate.")
        )
    is_interim = _flag(last, "interim_results")
    _flag(last, "no_delay")
    return Wishes(
        options=parsed,
        manner=segments.Manner(
            is_interim=is_interim,
            has_vad_events=_flag(last, "vad_events"),
            pause=_pause(last.get("endpointing", "true")),
            utterance_gap=_gap(last.get("utterance_end_ms"), is_interim=is_interim),
        ),
        encoding=encoding,
        is_multichannel="multichannel" in parsed.shape.flags,
    )


def _flag(last: dict[str, str], name: str) -> bool:
    value = _BOOLEANS.get(last.get(name, "false"))
    if value is None:
        raise refusals.Refused(
            refusals.invalid_query("provided string was not `true` or `false`")
        )
    return value


def _pause(text: str) -> float | None:
    if text in _BOOLEANS:
        return segments.SHORTEST_PAUSE if _BOOLEANS[text] else None
    return max(_milliseconds(text), segments.SHORTEST_PAUSE)


def _gap(text: str | None, *, is_interim: bool) -> float | None:
    if text is None or text == "false":
        return None
    seconds = _milliseconds(text)
    if seconds * 1000 < _SHORTEST_GAP_MS:
        raise refusals.Refused(
            refusals.bad_request("utterance_end_ms must be at least 1000.")
        )
    if not is_interim:
        raise refusals.Refused(
            refusals.bad_request("utterance_end_ms requires interim_results=true.")
        )
    return seconds


def _milliseconds(text: str) -> float:
    return options.parse_whole(text) / 1000
