"""Examples of transcripts for the OpenAPI document."""

from typing import Any

from jobs.api.examples import JOB_ID
from jobs.rest.openapi import examples

_REQUEST_ID = "3b5d2c1e-6c0e-4a59-9b1f-7a0f6d2f9e55"
_WORDS: list[dict[str, Any]] = [
    {
        "word": "hello",
        "start": 0.32,
        "end": 0.71,
        "confidence": 0.998,
        "punctuated_word": "Hello,",
        "speaker": 0,
    },
    {
        "word": "storm",
        "start": 0.71,
        "end": 1.18,
        "confidence": 0.981,
        "punctuated_word": "storm.",
        "speaker": 0,
    },
]
TRANSCRIPT: dict[str, Any] = {
    "job_id": JOB_ID,
    "object": "transcript",
    "text": "Hello, storm.",
    "language": "en",
    "confidence": 0.99,
    "duration_seconds": 1.6,
    "model": "general-nova-3",
    "request_id": _REQUEST_ID,
    "channels": [{"transcript": "Hello, storm.", "confidence": 0.99, "words": _WORDS}],
    "utterances": [],
    "warnings": [],
}
_RAW: dict[str, Any] = {
    "metadata": {"request_id": _REQUEST_ID, "duration": 1.6, "channels": 1},
    "results": {
        "channels": [
            {
                "alternatives": [
                    {"transcript": "Hello, storm.", "confidence": 0.99, "words": _WORDS}
                ]
            }
        ]
    },
}
_SRT = "1\n00:00:00,320 --> 00:00:01,320\nHello, storm.\n"
_VTT = "WEBVTT\n\n00:00:00.320 --> 00:00:01.320\n<v Speaker 0>Hello, storm.\n"
EXAMPLES = examples(
    answers={
        200: TRANSCRIPT,
        (200, "text/plain"): TRANSCRIPT["text"],
        (200, "application/vnd.deepgram+json"): _RAW,
        (200, "application/x-subrip"): _SRT,
        (200, "text/vtt"): _VTT,
    }
)
