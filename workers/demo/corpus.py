"""The bundled speech: recordings, reference texts, and word error rates."""

import json
import re
from dataclasses import dataclass
from pathlib import Path

import jiwer

FOLDER = Path(__file__).with_name("speech")
BROKEN = FOLDER / "broken.wav"


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """One file with the text and the voice of each channel."""

    path: Path
    voices: tuple[str, ...]
    texts: tuple[str, ...]
    language: str = "en"

    @property
    def is_judged(self) -> bool:
        """Whether its words are compared: the offline recognizer knows English only."""
        return self.language == "en"

    @property
    def is_stereo(self) -> bool:
        """Whether each speaker has a separate channel."""
        return len(self.texts) > 1


def recordings() -> list[Recording]:
    """Return all valid recordings, without `BROKEN`."""
    truth = json.loads((FOLDER / "truth.json").read_text())
    return [
        Recording(
            path=FOLDER / name,
            voices=tuple(entry["voices"]),
            texts=tuple(entry["texts"]),
            language=entry.get("language", "en"),
        )
        for name, entry in truth.items()
    ]


def normalize(text: str) -> str:
    """Return the words in lower case without punctuation."""
    return " ".join(re.findall(r"[a-z']+", text.lower()))


def word_error_rate(references: list[str], transcripts: list[str]) -> float:
    """Return the word errors of all texts divided by all reference words (pooled)."""
    measured = jiwer.process_words(
        [normalize(text) for text in references],
        [normalize(text) for text in transcripts],
    )
    return float(measured.wer)
