"""The demo's own parts: the recordings, the judge, and the receiver's signature check."""

import json
import time
from datetime import UTC, datetime

import av
import httpx
import pytest
from standardwebhooks import Webhook

from workers.demo import corpus, submission
from workers.demo.receiver import Inbox, is_signed, listening
from workers.demo.submission import DemoSubmission, find_failed_checks, submissions

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


@pytest.mark.parametrize("recording", corpus.recordings(), ids=lambda each: each.path)
def test_every_recording_is_audio_with_a_text_and_a_voice_for_each_channel(
    recording: corpus.Recording,
) -> None:
    with av.open(recording.path) as sound:
        stream = sound.streams.audio[0]
        frames = list(sound.decode(stream))
        seconds = sum(frame.samples for frame in frames) / stream.rate

    assert stream.rate == 16_000
    assert stream.channels == len(recording.texts) == len(recording.voices)
    assert 3 < seconds < 11
    assert set(recording.voices) <= {"rms", "kal16", "awb", "espeak-es"}


def test_the_broken_file_is_no_audio() -> None:
    with pytest.raises(av.error.InvalidDataError):
        av.open(corpus.BROKEN)


def test_case_and_punctuation_are_no_word_errors() -> None:
    truths = ["It's three o'clock.", "Yes, please"]

    assert corpus.word_error_rate(truths, ["its three o'clock", "yes please"]) == 0.2
    assert corpus.word_error_rate(truths, ["IT'S three o'clock", "yes. Please"]) == 0


def test_the_demo_covers_every_priority_a_url_two_channels_and_a_refusal() -> None:
    planned = submissions()

    assert {each.priority for each in planned} == {"urgent", "high", "normal", "low"}
    assert sum(each.by_url for each in planned) == 1
    assert [each.options() for each in planned if each.options()] == [
        {"tag": ["emu:503x2"]},
        {"multichannel": True},
        {"language": "es"},
    ]


def played() -> list[DemoSubmission]:
    """Return submissions as after a perfect run."""
    sent = submissions()
    for each in sent:
        each.status = "completed"
        each.attempts = 3 if each.is_refused_twice else 1
        each.has_webhook = each.is_genuine = True
        each.set_transcript("\n".join(each.recording.texts))
    return sent


def test_a_perfect_run_breaks_no_promise() -> None:
    assert find_failed_checks(played(), broken_file_code="422 audio_unreadable") == []


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"status": "failed"}, "health.wav ended as failed"),
        ({"has_webhook": False}, "no webhook for health.wav"),
        (
            {"is_genuine": False},
            "the webhook for health.wav has no valid signature",
        ),
        (
            {"attempts": 1},
            "health.wav got two 503s but has 1 attempts",
        ),
    ],
)
def test_each_broken_promise_is_named(change: dict[str, object], sentence: str) -> None:
    sent = played()
    (refused,) = [each for each in sent if each.is_refused_twice]
    for name, value in change.items():
        setattr(refused, name, value)

    assert find_failed_checks(sent, broken_file_code="422 x") == [sentence]


def test_words_never_heard_count_as_errors_and_so_does_a_broken_file_taken() -> None:
    sent = played()
    for each in sent[:2]:
        each.transcripts = []

    rate = submission.pooled_word_error_rate(sent)
    assert find_failed_checks(sent, broken_file_code="") == [
        f"the pooled word error rate is {rate:.1%}",
        "the invalid file was accepted",
    ]


def test_a_channel_without_words_leaves_the_other_in_its_place() -> None:
    (stereo,) = [each for each in submissions() if each.recording.is_stereo]

    stereo.set_transcript("only one")

    assert stereo.transcripts == ["only one", ""]


def signed(body: str, *, message_id: str = "msg_1") -> dict[str, str]:
    now = datetime.now(UTC)
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": Webhook(SECRET).sign(message_id, now, body),
    }


def test_the_receiver_accepts_what_the_standards_own_library_signs() -> None:
    headers = signed('{"ok": true}')
    now = time.time()

    assert is_signed(headers, b'{"ok": true}', SECRET, now=now)
    assert not is_signed(headers, b'{"ok": false}', SECRET, now=now)
    assert not is_signed(headers, b'{"ok": true}', SECRET, now=now + 301)
    assert not is_signed({}, b'{"ok": true}', SECRET, now=now)


def test_the_receiver_answers_401_to_a_forged_webhook_and_serves_recordings() -> None:
    inbox = Inbox(secret=SECRET)
    body = json.dumps({"type": "job.completed", "data": {"id": "j1"}})
    forged = signed(body) | {"webhook-id": "msg_2"}

    with listening(inbox) as url, httpx.Client(trust_env=False) as client:
        answers = [
            client.post(url, content=body, headers=headers).status_code
            for headers in (signed(body), forged)
        ]
        audio = client.get(f"{url}/council.wav").content
        missing = client.get(f"{url}/../truth.json").status_code

    assert answers == [204, 401]
    assert [(got.job_id, got.is_genuine) for got in inbox.received] == [
        ("j1", True),
        ("j1", False),
    ]
    assert audio == (corpus.FOLDER / "council.wav").read_bytes()
    assert missing == 404
