"""The bundled speech: which files there are, what is said in them, and word errors."""

import json
import re
from dataclasses import dataclass
from pathlib import Path

import jiwer

FOLDER = Path(__file__).with_name("speech")
BROKEN = FOLDER / "broken.wav"


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """One file with what is said in each of its channels, and by which voice."""

    path: Path
    voices: tuple[str, ...]
    texts: tuple[str, ...]

    @property
    def is_stereo(self) -> bool:
        """Whether each speaker has a channel of their own."""
        return len(self.texts) > 1


def recordings() -> list[Recording]:
    """Return every recording that can be transcribed; `BROKEN` is not among them."""
    truth = json.loads((FOLDER / "truth.json").read_text())
    return [
        Recording(
            path=FOLDER / name,
            voices=tuple(entry["voices"]),
            texts=tuple(entry["texts"]),
        )
        for name, entry in truth.items()
    ]


def normalised(text: str) -> str:
    """Return lower-case words without punctuation, which no error rate should count."""
    return " ".join(re.findall(r"[a-z']+", text.lower()))


def word_error_rate(truths: list[str], heard: list[str]) -> float:
    """Return the errors of all texts over the words of all truths (pooled)."""
    measured = jiwer.process_words(
        [normalised(text) for text in truths], [normalised(text) for text in heard]
    )
    return float(measured.wer)
