"""The limits of JSON are checked before it is parsed, in linear time."""

import json
import sys
import time

import pytest

from jobs.parsing.bounded_json import MAX_DEPTH, JSONLimitExceeded, loads_bounded

MIB = 1024**2


def nested(levels: int) -> str:
    return "[" * levels + "]" * levels


@pytest.mark.parametrize(
    "value",
    [
        {"type": "KeepAlive"},
        ["[" * 30, '"[{\\', {'a\\"': ["}"], "[": "]"}],
        [[1], [2], {"a": [[], {}]}] * 50,
        json.loads(nested(MAX_DEPTH)),
    ],
    ids=["command", "brackets in texts", "wide", "deepest"],
)
def test_a_text_within_the_limits_is_parsed(value):
    text = json.dumps(value)

    assert loads_bounded(text, max_chars=len(text)) == value
    assert loads_bounded(text.encode(), max_chars=len(text)) == value


@pytest.mark.parametrize(
    "text",
    [
        nested(MAX_DEPTH + 1),
        "[" * sys.getrecursionlimit() * 10,
        '{"a":' * (MAX_DEPTH + 1) + "1" + "}" * (MAX_DEPTH + 1),
        '[["]]"],' * (MAX_DEPTH + 1) + nested(MAX_DEPTH + 2),
    ],
)
def test_a_text_that_is_too_deep_is_refused(text):
    with pytest.raises(JSONLimitExceeded):
        loads_bounded(text, max_chars=MIB)


@pytest.mark.parametrize("text", ["[1", "NaN", "[Infinity]", "[" * 5, "[}", "9" * 5000])
def test_what_is_no_json_is_refused(text):
    with pytest.raises(ValueError):  # noqa: PT011  whichever the parser raises
        loads_bounded(text, max_chars=MIB)


def test_a_long_text_is_refused_unparsed():
    with pytest.raises(JSONLimitExceeded):
        loads_bounded("[1, 2]", max_chars=5)


@pytest.mark.parametrize(
    "text",
    [
        b"[" * MIB,
        nested(MIB // 2).encode(),
        b'"' * MIB,
        b'["' + b'\\"' * (MIB // 2),
        b"\\" * MIB,
        b"[[]" * (MIB // 3),
        b'["' + b"[" * MIB,
        b"[" * 20 + b'"a",' * (MIB // 4),
        b"[" * 20 + b'["["],' * (MIB // 6),
    ],
)
def test_no_text_takes_long_to_refuse(text):
    began = time.process_time()
    with pytest.raises(ValueError):  # noqa: PT011  whichever the parser raises
        loads_bounded(text, max_chars=2 * MIB)

    assert time.process_time() - began < 0.1
