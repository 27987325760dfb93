"""No text makes a pattern slow: each takes time in proportion to the text."""

import re
import time
from functools import cache

import pytest

from tests.support import regular_expressions
from transcripts.search import hits

LIMIT_SECONDS = 0.01
# These build a pattern from local variables. The first two keep it in a container or a
# closure, where the walk finds it; one of the third's is built below.
LOCAL = {"transcribe_platform.logs", "jobs.options", "transcripts.search.hits"}
# As they were when one header stopped a process for 19 and for 5 seconds.
OLD_PREFERENCE = (
    r"\s*(?P<name>[!#$%&'*+.^_`|~0-9A-Za-z-]+)\s*"
    r"(?:=\s*(?:\"(?P<quoted>(?:[^\"\\]|\\.)*)\"|(?P<bare>[^\s\",;=]+))?\s*)?"
    r"(?:;(?:[^\",]|\"(?:[^\"\\]|\\.)*\")*)?\s*$"
)
OLD_RANGE = r"bytes\s*=\s*(\d{0,18})\s*-\s*(\d{0,18})"


@cache
def collected():
    return regular_expressions.collect()


def find_slow(pattern, methods):
    """Return the first text on which a method takes longer than the limit."""
    for text in regular_expressions.worst_texts(pattern):
        for method in methods:
            if not is_fast(getattr(pattern, method), text):
                return method, f"{text[:40]}…{text[-3:]}"
    return None


def is_fast(apply, text):
    """Tell whether one of three runs stays within the limit of CPU time."""
    for _ in range(3):
        began = time.thread_time()
        apply(text)
        if time.thread_time() - began <= LIMIT_SECONDS:
            return True
    return False


def test_every_pattern_reads_10_kb_of_the_worst_text_within_10_ms():
    slow = {
        f"{place} {pattern.pattern}": found
        for pattern, (place, uses) in collected().patterns.items()
        if (found := find_slow(pattern, uses or regular_expressions.METHODS))
    }

    assert slow == {}


def test_every_place_that_compiles_a_pattern_is_found():
    places = {place.partition(":")[0] for place, _ in collected().patterns.values()}

    assert collected().unread == LOCAL
    assert {"jobs.rest.preferences", "jobs.audio.byte_ranges", "jobs.options"} <= places
    assert {"transcribe_platform.logs", "a URL route"} <= places
    assert len(collected().patterns) > 120


def test_a_pattern_made_of_a_search_is_fast_too():
    pattern = hits.build_candidate_pattern("re")

    assert find_slow(pattern, ["findall"]) is None


@pytest.mark.parametrize(
    ("text", "method", "length"),
    [(OLD_PREFERENCE, "match", 400), (OLD_RANGE, "fullmatch", 8000)],
)
def test_the_two_patterns_that_blocked_a_process_are_found_to_be_slow(
    text, method, length
):
    shorter = regular_expressions.worst_texts(re.compile(text), length=length)
    pattern = re.compile(text)

    assert any(not is_fast(getattr(pattern, method), it) for it in shorter)
