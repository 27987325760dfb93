"""What the demo submits, and what it holds the platform to. Pure."""

from dataclasses import dataclass, field
from typing import Any

from workers.demo import corpus
from workers.demo.corpus import Recording

MAX_WORD_ERROR_RATE = 0.10
TWO_REFUSALS = "emu:503x2"  # the emulator answers 503 twice, then transcribes
ATTEMPTS_WITH_REFUSALS = 3
FINAL = frozenset({"completed", "failed", "canceled", "expired"})
_PRIORITIES = ("urgent", "high", "normal", "low")
_BY_URL = "storm.flac"
_REFUSED_TWICE = "health.wav"


@dataclass(slots=True, kw_only=True)
class DemoSubmission:
    """One recording on its way, and how far it has come."""

    recording: Recording
    priority: str
    by_url: bool
    is_refused_twice: bool
    job_id: str = ""
    status: str = "not sent"
    attempts: int = 0
    heard: list[str] = field(default_factory=list)
    has_webhook: bool = False
    is_genuine: bool = False

    @property
    def name(self) -> str:
        """The file's name."""
        return self.recording.path.name

    @property
    def is_final(self) -> bool:
        """Whether the job has ended and its webhook has come."""
        return self.status in FINAL and self.has_webhook

    @property
    def word_error_rate(self) -> float | None:
        """The error rate of this file, None before there is a transcript."""
        if not self.heard:
            return None
        return corpus.word_error_rate([*self.recording.texts], self.heard)

    def options(self) -> dict[str, Any]:
        """Return the transcription options to ask for."""
        chosen: dict[str, Any] = {}
        if self.recording.is_stereo:
            chosen["multichannel"] = True
        if self.is_refused_twice:
            chosen["tag"] = [TWO_REFUSALS]
        return chosen

    def hear(self, text: str) -> None:
        """Take the transcript, one line a channel."""
        lines = text.split("\n") if self.recording.is_stereo else [text]
        missing = len(self.recording.texts) - len(lines)
        self.heard = [*lines, *[""] * missing]


def submissions() -> list[DemoSubmission]:
    """Return one submission a recording, every priority among them."""
    return [
        DemoSubmission(
            recording=recording,
            priority=_PRIORITIES[index % len(_PRIORITIES)],
            by_url=recording.path.name == _BY_URL,
            is_refused_twice=recording.path.name == _REFUSED_TWICE,
        )
        for index, recording in enumerate(corpus.recordings())
    ]


def pooled_word_error_rate(sent: list[DemoSubmission]) -> float:
    """Return all errors over all words; what was never heard is all errors."""
    truths = [text for each in sent for text in each.recording.texts]
    heard = [
        line for each in sent for line in each.heard or [""] * len(each.recording.texts)
    ]
    return corpus.word_error_rate(truths, heard)


def find_broken_promises(
    sent: list[DemoSubmission], *, broken_answer: str
) -> list[str]:
    """Return a sentence for each promise that did not hold; none means all held.

    `broken_answer` is the error code with which the broken file was refused.
    """
    found = [
        f"{each.name} ended as {each.status}"
        for each in sent
        if each.status != "completed"
    ]
    found += [f"no webhook for {each.name}" for each in sent if not each.has_webhook]
    found += [
        f"the webhook for {each.name} has no valid signature"
        for each in sent
        if each.has_webhook and not each.is_genuine
    ]
    found += [
        f"{each.name} met two 503s and shows {each.attempts} attempts, not three"
        for each in sent
        if each.is_refused_twice and each.attempts != ATTEMPTS_WITH_REFUSALS
    ]
    rate = pooled_word_error_rate(sent)
    if rate > MAX_WORD_ERROR_RATE:
        found.append(f"the pooled word error rate is {rate:.1%}")
    if not broken_answer:
        found.append("the broken file was not refused")
    return found
