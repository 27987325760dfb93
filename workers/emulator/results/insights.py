"""Generates plausible audio intelligence: summary, topics, intents, sentiment.

Equal words give equal values. Used only with engines that generate their words.
"""

import tomllib
from pathlib import Path
from typing import Any

from workers.emulator import engines
from workers.emulator.faults import chance
from workers.emulator.protocol import options
from workers.emulator.results import passages

_TABLES = tomllib.loads(Path(__file__).with_suffix(".toml").read_text())
# Features that the recognizing engine does not support.
FEATURES = ("summarize", "topics", "intents", "sentiment", "detect_entities", "diarize")

_SUMMARY_WORDS = 24
_SEGMENT_SENTENCES = 3
_NEUTRAL = 0.333333

Json = dict[str, Any]


def select_features(shape: options.Shape) -> list[str]:
    """Return the requested features that need more than recognition."""
    flags = shape.flags | ({"summarize"} if shape.is_summarized else frozenset())
    return [name for name in FEATURES if name in flags]


def build_results(words: passages.Words, features: list[str]) -> Json:
    """Return the members of `results` other than `channels`."""
    results: Json = {}
    if "summarize" in features:
        short = passages.join_text(words[:_SUMMARY_WORDS], is_written=True)
        results["summary"] = {"result": "success", "short": short}
    if "topics" in features:
        results["topics"] = _build_named(words, "topics", "topic")
    if "intents" in features:
        results["intents"] = _build_named(words, "intents", "intent")
    if "sentiment" in features:
        results["sentiments"] = _build_sentiments(words)
    return results


def build_metadata(words: passages.Words, features: list[str], model: str) -> Json:
    """Return the `…_info` members of the metadata."""
    info = {"model_uuid": model, "input_tokens": len(words), "output_tokens": 12}
    names = {
        "summarize": "summary_info",
        "topics": "topics_info",
        "intents": "intents_info",
        "sentiment": "sentiment_info",
    }
    return {key: info for feature, key in names.items() if feature in features}


def build_entities(words: passages.Words) -> list[Json]:
    """Return the words that name a day or a number."""
    return [
        {
            "label": label,
            "value": word.text,
            "raw_value": word.text,
            "confidence": word.confidence,
            "start_word": place,
            "end_word": place + 1,
        }
        for place, word in enumerate(words)
        if (label := _TABLES["entities"].get(word.text)) is not None
    ]


def _build_named(words: passages.Words, plural: str, single: str) -> Json:
    names: list[str] = _TABLES[plural]
    segments = []
    for segment in _segments(words):
        text = segment["text"]
        name = names[int(chance.fraction(plural, text) * len(names))]
        score = round(0.5 + 0.5 * chance.fraction(single, text), 6)
        segments.append(
            {**segment, plural: [{single: name, "confidence_score": score}]}
        )
    return {"results": {plural: {"segments": segments}}}


def _build_sentiments(words: passages.Words) -> Json:
    segments = []
    for segment in _segments(words):
        score = round(2 * chance.fraction("sentiment", segment["text"]) - 1, 6)
        segments.append(
            {
                **segment,
                "sentiment": _classify_sentiment(score),
                "sentiment_score": score,
            }
        )
    scores = [segment["sentiment_score"] for segment in segments]
    mean = round(sum(scores) / len(scores), 6) if scores else 0.0
    average = {"sentiment": _classify_sentiment(mean), "sentiment_score": mean}
    return {"segments": segments, "average": average}


def _classify_sentiment(score: float) -> str:
    if abs(score) <= _NEUTRAL:
        return "neutral"
    return "positive" if score > 0 else "negative"


def _segments(words: passages.Words) -> list[Json]:
    sentences = list(passages.split_sentences(words))
    segments = []
    for at in range(0, len(sentences), _SEGMENT_SENTENCES):
        group = sentences[at : at + _SEGMENT_SENTENCES]
        first, last = group[0][0], group[-1][1]
        spoken: list[engines.Word] = list(words[first:last])
        segments.append(
            {
                "text": passages.join_text(spoken, is_written=True),
                "start_word": first,
                "end_word": last - 1,
            }
        )
    return segments
