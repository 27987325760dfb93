"""The demo's submissions and the checks of their results."""

from dataclasses import dataclass, field
from typing import Any

from workers.demo import corpus
from workers.demo.corpus import Recording

MAX_WORD_ERROR_RATE = 0.10
TWO_REFUSALS = "emu:503x2"  # the emulator returns 503 twice, then transcribes
ATTEMPTS_WITH_REFUSALS = 3
FINAL = frozenset({"completed", "failed", "canceled", "expired"})
_PRIORITIES = ("urgent", "high", "normal", "low")
_BY_URL = "storm.flac"
_REFUSED_TWICE = "health.wav"


@dataclass(slots=True, kw_only=True)
class DemoSubmission:
    """One submitted recording and its progress."""

    recording: Recording
    priority: str
    by_url: bool
    is_refused_twice: bool
    job_id: str = ""
    status: str = "not sent"
    attempts: int = 0
    transcripts: list[str] = field(default_factory=list)
    has_webhook: bool = False
    is_genuine: bool = False

    @property
    def name(self) -> str:
        """The file's name."""
        return self.recording.path.name

    @property
    def is_final(self) -> bool:
        """Whether the job has ended and its webhook was received."""
        return self.status in FINAL and self.has_webhook

    @property
    def word_error_rate(self) -> float | None:
        """The error rate of this file; None without a transcript or in Spanish."""
        if not (self.transcripts and self.recording.is_judged):
            return None
        return corpus.word_error_rate([*self.recording.texts], self.transcripts)

    def options(self) -> dict[str, Any]:
        """Return the transcription options."""
        options: dict[str, Any] = {}
        if self.recording.is_stereo:
            options["multichannel"] = True
        if not self.recording.is_judged:
            options["language"] = self.recording.language
        if self.is_refused_twice:
            options["tag"] = [TWO_REFUSALS]
        return options

    def set_transcript(self, text: str) -> None:
        """Store the transcript, one line per channel."""
        lines = text.split("\n") if self.recording.is_stereo else [text]
        missing = len(self.recording.texts) - len(lines)
        self.transcripts = [*lines, *[""] * missing]


def submissions() -> list[DemoSubmission]:
    """Return one submission per recording, with all priorities."""
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
    """Return all errors divided by all words; missing transcripts count as errors."""
    judged = [each for each in sent if each.recording.is_judged]
    truths = [text for submission in judged for text in submission.recording.texts]
    transcripts = [
        line
        for submission in judged
        for line in submission.transcripts or [""] * len(submission.recording.texts)
    ]
    return corpus.word_error_rate(truths, transcripts)


def find_failed_checks(
    sent: list[DemoSubmission], *, broken_file_code: str
) -> list[str]:
    """Return a message for submission failed check; empty if all passed.

    `broken_file_code` is the error code of the response to the invalid file.
    """
    found = [
        f"{submission.name} ended as {submission.status}"
        for submission in sent
        if submission.status != "completed"
    ]
    found += [
        f"no webhook for {submission.name}"
        for submission in sent
        if not submission.has_webhook
    ]
    found += [
        f"the webhook for {submission.name} has no valid signature"
        for submission in sent
        if submission.has_webhook and not submission.is_genuine
    ]
    found += [
        f"{submission.name} got two 503s but has {submission.attempts} attempts"
        for submission in sent
        if submission.is_refused_twice and submission.attempts != ATTEMPTS_WITH_REFUSALS
    ]
    rate = pooled_word_error_rate(sent)
    if rate > MAX_WORD_ERROR_RATE:
        found.append(f"the pooled word error rate is {rate:.1%}")
    if not broken_file_code:
        found.append("the invalid file was accepted")
    return found
