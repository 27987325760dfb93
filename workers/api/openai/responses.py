"""Build OpenAI's response of a transcript: JSON, text, captions, or a stream. Pure.

Deepgram states no log probabilities: they are the logarithms of its confidences.
"""

import json
import math
import re
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from string import ascii_uppercase
from typing import Any

from django.conf.locale import LANG_INFO

from transcripts.formats import FORMATS, FormatSource
from transcripts.formats.base import encode
from transcripts.formats.captions import PAUSE_MS, ends_sentence
from transcripts.formats.words import Voice, Word, join, read_channels

JSON_TYPE = "application/json"
TEXT_TYPE = "text/plain; charset=utf-8"
STREAM_TYPE = "text/event-stream"
_MIN_CONFIDENCE = 1e-9
# Of a model that returns the languages; others do not have the field.
_MODEL_WITH_LANGUAGES = "gpt-transcribe"


def build_response(
    source: FormatSource, request: Mapping[str, Any]
) -> tuple[str, bytes]:
    """Return content type and body for the request's parameters."""
    name = request["response_format"]
    if request["stream"]:
        return STREAM_TYPE, _build_stream(_stream(source, request))
    if name == "text":
        return TEXT_TYPE, encode(source.transcript.text + "\n")
    if name in {"srt", "vtt"}:
        return TEXT_TYPE, FORMATS[name].build(source)
    builders = {"verbose_json": _build_verbose, "diarized_json": _build_diarized}
    body = builders.get(name, _build_plain)(source, request)
    return JSON_TYPE, encode(json.dumps(body, ensure_ascii=False))


def _build_plain(source: FormatSource, request: Mapping[str, Any]) -> dict[str, Any]:
    words = _read_words(source) if request.get("include") else []
    return {
        "text": source.transcript.text,
        **({"logprobs": [_build_logprob(word) for word in words]} if words else {}),
        **_build_languages(source, request),
        **_build_usage(source),
    }


def _build_verbose(source: FormatSource, request: Mapping[str, Any]) -> dict[str, Any]:
    granularities = request.get("timestamp_granularities") or ["segment"]
    language = source.transcript.find_language(source.transcript.job.options) or ""
    body: dict[str, Any] = {
        "task": "transcribe",
        "language": name_language(language),
        "duration": source.transcript.duration_seconds,
        "text": source.transcript.text,
    }
    if "word" in granularities:
        body["words"] = [
            {"word": word.text, **_build_times([word])} for word in _read_words(source)
        ]
    if "segment" in granularities:
        body["segments"] = [
            _build_segment(number, words)
            for number, words in enumerate(split_segments(source.document))
        ]
    return {**body, **_build_usage(source)}


def _build_diarized(
    source: FormatSource, _request: Mapping[str, Any]
) -> dict[str, Any]:
    return {
        "task": "transcribe",
        "duration": source.transcript.duration_seconds,
        "text": source.transcript.text,
        "segments": list(_build_speaker_segments(source)),
        **_build_usage(source),
    }


def _stream(
    source: FormatSource, request: Mapping[str, Any]
) -> Iterator[dict[str, Any]]:
    """Yield the events; the deltas of a stream without speakers are its words."""
    text = source.transcript.text
    if request["response_format"] == "diarized_json":
        for number, segment in enumerate(_build_speaker_segments(source)):
            delta = (" " if number else "") + segment["text"]
            yield {
                "type": "transcript.text.delta",
                "delta": delta,
                "segment_id": segment["id"],
            }
            yield segment
    else:
        for delta in re.findall(r"\S+\s*", text):
            yield {"type": "transcript.text.delta", "delta": delta}
    yield {
        "type": "transcript.text.done",
        "text": text,
        **_build_languages(source, request),
    }


def _build_stream(events: Iterable[Mapping[str, Any]]) -> bytes:
    lines = [json.dumps(event, ensure_ascii=False) for event in events]
    return encode("".join(f"data: {line}\n\n" for line in [*lines, "[DONE]"]))


def _build_languages(
    source: FormatSource, request: Mapping[str, Any]
) -> dict[str, Any]:
    if request["model"] != _MODEL_WITH_LANGUAGES:
        return {}
    language = source.transcript.find_language(source.transcript.job.options)
    return {"languages": [{"code": language}] if language else []}


def _build_usage(source: FormatSource) -> dict[str, Any]:
    seconds = source.transcript.duration_seconds
    return {"usage": {"type": "duration", "seconds": seconds}}


def _build_speaker_segments(source: FormatSource) -> Iterator[dict[str, Any]]:
    names: dict[Voice, str] = {}
    for number, words in enumerate(split_segments(source.document)):
        name = names.setdefault(words[0].voice, name_speaker(len(names)))
        yield {
            "type": "transcript.text.segment",
            "id": f"seg_{number}",
            "speaker": name,
            "text": join(words),
            **_build_times(words),
        }


def _build_segment(number: int, words: Sequence[Word]) -> dict[str, Any]:
    text = join(words)
    data = text.encode()
    return {
        "id": number,
        "seek": 0,
        "text": text,
        **_build_times(words),
        "tokens": [],
        "temperature": 0.0,
        "avg_logprob": sum(map(_find_logprob, words)) / len(words),
        "compression_ratio": len(data) / len(zlib.compress(data)),
        "no_speech_prob": 0.0,
    }


def _build_logprob(word: Word) -> dict[str, Any]:
    return {
        "token": word.text,
        "bytes": list(word.text.encode()),
        "logprob": _find_logprob(word),
    }


def _find_logprob(word: Word) -> float:
    confidence = 1.0 if word.confidence is None else word.confidence
    return math.log(max(confidence, _MIN_CONFIDENCE))


def _build_times(words: Sequence[Word]) -> dict[str, float]:
    return {"start": words[0].start / 1000, "end": words[-1].end / 1000}


def _read_words(source: FormatSource) -> list[Word]:
    words = [word for channel in read_channels(source.document) for word in channel]
    return sorted(words, key=lambda word: word.start)


def split_segments(document: dict[str, Any]) -> list[list[Word]]:
    """Return the words in segments: a sentence of one voice, or up to a pause."""
    segments: list[list[Word]] = []
    for channel in read_channels(document):
        last: Word | None = None
        for word in channel:
            if last is None or _is_break(last, word):
                segments.append([])
            segments[-1].append(word)
            last = word
    return sorted(segments, key=lambda words: words[0].start)


def _is_break(last: Word, word: Word) -> bool:
    is_after_pause = word.start - last.end > PAUSE_MS
    return word.voice != last.voice or is_after_pause or ends_sentence(last)


def name_speaker(number: int) -> str:
    """Return A, B … Z, AA, AB … for 0, 1 …"""
    rounds, letter = divmod(number, len(ascii_uppercase))
    return (name_speaker(rounds - 1) if rounds else "") + ascii_uppercase[letter]


def name_language(code: str) -> str:
    """Return the English name in lower case, as Whisper does, or else the code."""
    primary = code.partition("-")[0].lower()
    return str(LANG_INFO.get(primary, {}).get("name", code)).lower()
