"""Builds the response document of a finished call, in Deepgram's format.

Results are serialized once and cached as bytes: calls with equal audio and options
differ only in their metadata.
"""

import json
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from workers.emulator import audio, engines
from workers.emulator.protocol import options
from workers.emulator.results import insights, passages

Json = dict[str, Any]

_NAMES = uuid.uuid5(uuid.NAMESPACE_URL, "https://emulator.invalid/deepgram")
_VERSION = "emulator-1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """Serialized results, and the metadata of the document."""

    results: bytes
    metadata: Json
    duration: float
    channels: int

    def compose(
        self,
        *,
        request_id: str,
        created: str,
        tags: Sequence[str] = (),
        extra: Sequence[tuple[str, str]] = (),
    ) -> bytes:
        """Return the complete document of one call as JSON bytes."""
        metadata: Json = {
            "transaction_key": "deprecated",
            "request_id": request_id,
            "created": created,
            **self.metadata,
        }
        if tags:
            metadata["tags"] = list(tags)
        if extra:
            metadata["extra"] = dict(extra)
        head = json.dumps(metadata, separators=(",", ":")).encode()
        return b'{"metadata":%b,"results":%b}' % (head, self.results)


def build_document(
    media: audio.Audio,
    measure: audio.Measure,
    shape: options.Shape,
    channels: engines.Channels,
    engine: engines.Engine,
) -> Document:
    """Return the document that contains these words."""
    features = insights.select_features(shape)
    warnings = [] if engine.is_inventive else [_warning(name) for name in features]
    if not engine.is_inventive:
        features = []
    results = _build_results(media.sha256, shape, channels, features)
    model, description = describe_model(engine.name, shape)
    metadata: Json = {
        "sha256": media.sha256,
        "duration": round(measure.duration, 6),
        "channels": measure.channels,
        "models": [model],
        "model_info": {model: description},
        **insights.build_metadata(channels[0] if channels else (), features, model),
    }
    if "diarize" in features:
        metadata["diarize_info"] = {"model_uuid": model, "arch": "v2"}
    if warnings:
        metadata["warnings"] = warnings
    return Document(
        results=json.dumps(results, separators=(",", ":")).encode(),
        metadata=metadata,
        duration=measure.duration,
        channels=measure.channels,
    )


def describe_model(engine: str, shape: options.Shape) -> tuple[str, Json]:
    """Return the model's UUID and its `model_info`, which names the emulator."""
    description = {
        "name": f"emulator-{engine}",
        "version": _VERSION,
        "arch": shape.family,
    }
    return str(uuid.uuid5(_NAMES, f"{engine}/{shape.model}")), description


def _warning(feature: str) -> Json:
    return {
        "parameter": feature,
        "type": "unsupported_feature",
        "message": f"The emulator's offline engine does not provide {feature}.",
    }


def _build_results(
    sha256: str,
    shape: options.Shape,
    channels: engines.Channels,
    features: list[str],
) -> Json:
    results: Json = {
        "channels": [_build_channel(words, shape, features) for words in channels]
    }
    if "utterances" in shape.flags:
        results["utterances"] = _build_utterances(sha256, shape, channels)
    first = channels[0] if channels else ()
    results.update(insights.build_results(first, features))
    return results


def _build_channel(
    words: passages.Words, shape: options.Shape, features: list[str]
) -> Json:
    channel: Json = {}
    if shape.search:
        channel["search"] = [_search(words, query) for query in shape.search]
    if shape.is_language_detected:
        allowed = shape.languages_allowed
        channel["detected_language"] = (
            "en" if not allowed or "en" in allowed else allowed[0]
        )
        channel["language_confidence"] = 0.99 if words else 0.0
    channel["alternatives"] = [_build_alternative(words, shape, features)]
    return channel


def _build_alternative(
    words: passages.Words, shape: options.Shape, features: list[str]
) -> Json:
    alternative: Json = {
        "transcript": passages.join_text(words, is_written=shape.is_punctuated),
        "confidence": passages.mean_confidence(words),
        "words": [build_word(word, shape) for word in words],
    }
    if shape.language == "multi":
        alternative["languages"] = ["en"]
    if not shape.flags.isdisjoint({"paragraphs", "smart_format"}):
        alternative["paragraphs"] = _build_paragraphs(words)
    if "detect_entities" in features:
        alternative["entities"] = insights.build_entities(words)
    return alternative


def build_word(word: engines.Word, shape: options.Shape) -> Json:
    """Return a word of a prerecorded or live result."""
    form: Json = {
        "word": word.text,
        "start": word.start,
        "end": word.end,
        "confidence": word.confidence,
    }
    if word.speaker is not None:
        form["speaker"] = word.speaker
        form["speaker_confidence"] = round(word.confidence * 0.9, 4)
    if shape.is_punctuated:
        form["punctuated_word"] = word.written
    if shape.language == "multi":
        form["language"] = "en"
    return form


def _build_paragraphs(words: passages.Words) -> Json:
    paragraphs = []
    texts = []
    speaker: int | None = None
    for sentences in passages.group_paragraphs(words):
        first, last = sentences[0][0], sentences[-1][1]
        paragraph: Json = {
            "sentences": [
                {
                    "text": passages.join_text(words[start:end], is_written=True),
                    "start": words[start].start,
                    "end": words[end - 1].end,
                }
                for start, end in sentences
            ],
            "num_words": last - first,
            "start": words[first].start,
            "end": words[last - 1].end,
        }
        text = " ".join(sentence["text"] for sentence in paragraph["sentences"])
        if words[first].speaker is not None:
            paragraph["speaker"] = words[first].speaker
            if words[first].speaker != speaker:
                speaker = words[first].speaker
                text = f"\nSpeaker {speaker}: {text}"
        paragraphs.append(paragraph)
        texts.append(text)
    return {"transcript": "\n\n".join(texts), "paragraphs": paragraphs}


def _build_utterances(
    sha256: str, shape: options.Shape, channels: engines.Channels
) -> list[Json]:
    utterances = []
    for channel, words in enumerate(channels):
        for first, last in passages.split_utterances(words, shape.utterance_split):
            utterance_words = words[first:last]
            utterance: Json = {
                "start": utterance_words[0].start,
                "end": utterance_words[-1].end,
                "confidence": passages.mean_confidence(utterance_words),
                "channel": channel,
                "transcript": passages.join_text(
                    utterance_words, is_written=shape.is_punctuated
                ),
                "words": [build_word(word, shape) for word in utterance_words],
                "id": str(uuid.uuid5(_NAMES, f"{sha256}/{channel}/{first}")),
            }
            if utterance_words[0].speaker is not None:
                utterance["speaker"] = utterance_words[0].speaker
            utterances.append(utterance)
    utterances.sort(key=lambda utterance: utterance["start"])
    return utterances


def _search(words: passages.Words, query: str) -> Json:
    """Return the occurrences of the phrase; matches exact words only."""
    phrase = query.lower().split()
    hits = []
    for at in range(len(words) - len(phrase) + 1 if phrase else 0):
        window = words[at : at + len(phrase)]
        if [word.text for word in window] == phrase:
            hits.append(
                {
                    "confidence": passages.mean_confidence(window),
                    "start": window[0].start,
                    "end": window[-1].end,
                    "snippet": passages.join_text(window, is_written=False),
                }
            )
    return {"query": query, "hits": hits}
