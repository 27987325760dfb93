"""Make Deepgram's documents of words, and read captions back with others' readers."""

import html
from typing import NamedTuple

import pysubs2
import srt
import webvtt

from jobs.models import Job
from transcripts.formats import FORMATS, FormatSource
from transcripts.models import Transcript


class Shown(NamedTuple):
    """A caption as a player sees it, in milliseconds."""

    start: int
    end: int
    text: str
    voice: str = ""


def say(text, *, at=0.0, each=0.4, **more):
    """Return the words of a sentence, one after another without a pause."""
    return [
        {
            "word": word.lower().strip(".,?!"),
            "punctuated_word": word,
            "start": round(at + each * number, 3),
            "end": round(at + each * (number + 1), 3),
            **more,
        }
        for number, word in enumerate(text.split())
    ]


def document_of(*channels, duration=None, paragraphs=()):
    """Return a document of channels, each a list of words."""
    starts = {"paragraphs": [{"start": start} for start in paragraphs]}
    return {
        "metadata": {} if duration is None else {"duration": duration},
        "results": {
            "channels": [
                {"alternatives": [{"words": words, "paragraphs": starts}]}
                for words in channels
            ]
        },
    }


def build(name, document, *, text=""):
    """Return the document in a format, as text."""
    source = FormatSource(Transcript(text=text, job=Job(warnings=[])), b"")
    source.document = document
    return FORMATS[name].build(source).decode()


def read_vtt(text):
    """Read WebVTT by webvtt-py, and hold its times against pysubs2's."""
    found = [
        Shown(
            _at(it.start_time), _at(it.end_time), html.unescape(it.text), it.voice or ""
        )
        for it in webvtt.from_string(text)
    ]
    others = pysubs2.SSAFile.from_string(text, format_="vtt")
    assert [(it.start, it.end) for it in others] == [it[:2] for it in found]
    return found


def read_srt(text):
    """Read SubRip by srt, and hold its times against pysubs2's."""
    found = [
        Shown(_ms(it.start), _ms(it.end), it.content)
        for it in srt.parse(text, ignore_errors=False)
    ]
    others = pysubs2.SSAFile.from_string(text, format_="srt")
    assert [(it.start, it.end) for it in others] == [it[:2] for it in found]
    return found


def _at(time):
    whole = (time.hours * 60 + time.minutes) * 60 + time.seconds
    return whole * 1000 + time.milliseconds


def _ms(delta):
    return round(delta.total_seconds() * 1000)
