"""The answer to a finished call, in Deepgram's shape.

The results are serialised once and kept as bytes: calls with equal audio and equal
options differ only in their metadata.
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
    """The results, ready for the wire, and the metadata that goes with them."""

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
        """Return the whole document for one call."""
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
    sound: audio.Audio,
    measure: audio.Measure,
    shape: options.Shape,
    spoken: engines.Channels,
    engine: engines.Engine,
) -> Document:
    """Return what Deepgram would answer, had it heard these words."""
    features = insights.wanted(shape)
    warnings = [] if engine.is_inventive else [_warning(name) for name in features]
    if not engine.is_inventive:
        features = []
    results = _build_results(sound.sha256, shape, spoken, features)
    model, description = describe_model(engine.name, shape)
    metadata: Json = {
        "sha256": sound.sha256,
        "duration": round(measure.duration, 6),
        "channels": measure.channels,
        "models": [model],
        "model_info": {model: description},
        **insights.build_metadata(spoken[0] if spoken else (), features, model),
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
    """Return the UUID of a model, and what says that it is no model of Deepgram's."""
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
    spoken: engines.Channels,
    features: list[str],
) -> Json:
    results: Json = {
        "channels": [_build_channel(words, shape, features) for words in spoken]
    }
    if "utterances" in shape.flags:
        results["utterances"] = _build_utterances(sha256, shape, spoken)
    first = spoken[0] if spoken else ()
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
        "words": [_build_word(word, shape) for word in words],
    }
    if shape.language == "multi":
        alternative["languages"] = ["en"]
    if not shape.flags.isdisjoint({"paragraphs", "smart_format"}):
        alternative["paragraphs"] = _build_paragraphs(words)
    if "detect_entities" in features:
        alternative["entities"] = insights.build_entities(words)
    return alternative


def _build_word(word: engines.Word, shape: options.Shape) -> Json:
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
    sha256: str, shape: options.Shape, spoken: engines.Channels
) -> list[Json]:
    utterances = []
    for channel, words in enumerate(spoken):
        for first, last in passages.split_utterances(words, shape.utterance_split):
            part = words[first:last]
            utterance: Json = {
                "start": part[0].start,
                "end": part[-1].end,
                "confidence": passages.mean_confidence(part),
                "channel": channel,
                "transcript": passages.join_text(part, is_written=shape.is_punctuated),
                "words": [_build_word(word, shape) for word in part],
                "id": str(uuid.uuid5(_NAMES, f"{sha256}/{channel}/{first}")),
            }
            if part[0].speaker is not None:
                utterance["speaker"] = part[0].speaker
            utterances.append(utterance)
    utterances.sort(key=lambda utterance: utterance["start"])
    return utterances


def _search(words: passages.Words, query: str) -> Json:
    """Return where the phrase was said; only exact hits are found."""
    wanted = query.lower().split()
    hits = []
    for at in range(len(words) - len(wanted) + 1 if wanted else 0):
        part = words[at : at + len(wanted)]
        if [word.text for word in part] == wanted:
            hits.append(
                {
                    "confidence": passages.mean_confidence(part),
                    "start": part[0].start,
                    "end": part[-1].end,
                    "snippet": passages.join_text(part, is_written=False),
                }
            )
    return {"query": query, "hits": hits}
