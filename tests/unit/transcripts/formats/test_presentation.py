from uuid import UUID

import pytest

from jobs.models import Job
from transcripts.api.serializers import TranscriptOutput
from transcripts.formats.platform_json import present_transcript
from transcripts.models import Transcript

JOB = UUID("0b7c2a9e-1f5d-7b7a-9c55-2f1f9e1f4a11")
WORD = {"word": "hello", "start": 0.1, "end": 0.4, "confidence": 0.9}
WARNING = {"code": "no_speech", "detail": "No speech was recognized."}
DOCUMENT = {
    "results": {
        "channels": [
            {
                "alternatives": [
                    {
                        "transcript": "Hello.",
                        "confidence": 0.9,
                        "words": [
                            {
                                **WORD,
                                "punctuated_word": "Hello.",
                                "speaker": 1,
                                "language": "en",
                            },
                            WORD,
                        ],
                    }
                ]
            }
        ],
        "utterances": [
            {
                "id": "u-1",
                "start": 0.1,
                "end": 0.4,
                "confidence": 0.9,
                "channel": 0,
                "transcript": "Hello.",
                "words": [WORD],
            }
        ],
    }
}


def transcript():
    row = Transcript(
        job_id=JOB,
        text="Hello.",
        language="en",
        model="general-nova-3",
        confidence=0.9,
        duration_seconds=0.5,
        channels=1,
        words=2,
        request_id="req-1",
    )
    row.job = Job(id=JOB, warnings=[WARNING])
    return row


def test_a_transcript_shows_the_row_and_the_documents_words():
    assert present_transcript(transcript(), DOCUMENT) == {
        "job_id": str(JOB),
        "object": "transcript",
        "text": "Hello.",
        "language": "en",
        "confidence": 0.9,
        "duration_seconds": 0.5,
        "model": "general-nova-3",
        "request_id": "req-1",
        "channels": [
            {
                "transcript": "Hello.",
                "confidence": 0.9,
                "words": [{**WORD, "punctuated_word": "Hello.", "speaker": 1}, WORD],
            }
        ],
        "utterances": [
            {
                "id": "u-1",
                "channel": 0,
                "start": 0.1,
                "end": 0.4,
                "confidence": 0.9,
                "transcript": "Hello.",
            }
        ],
        "warnings": [WARNING],
    }


def test_the_schema_names_exactly_what_is_shown():
    shown = present_transcript(transcript(), DOCUMENT)

    assert list(shown) == list(TranscriptOutput().fields)


@pytest.mark.parametrize(
    ("document", "channels"),
    [
        ({}, []),
        ({"results": None}, []),
        ({"results": []}, []),
        ({"results": {"channels": None, "utterances": None}}, []),
        (
            {"results": {"channels": [None], "utterances": "x"}},
            [{"transcript": "", "confidence": None, "words": []}],
        ),
        (
            {"results": {"channels": [{"alternatives": [{"words": [None, 1]}]}]}},
            [{"transcript": "", "confidence": None, "words": []}],
        ),
    ],
)
def test_an_odd_document_never_breaks_the_answer(document, channels):
    shown = present_transcript(transcript(), document)

    assert shown["channels"] == channels
    assert shown["utterances"] == []
