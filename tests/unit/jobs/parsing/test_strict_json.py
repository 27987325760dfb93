import json
import time

import pytest

from jobs.errors import InvalidRequest
from jobs.parsing.strict_json import is_storable, loads_strictly, pointer_to


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (b"{}", {}),
        (b'{"a": [1, 2.5, true, null, "x"]}', {"a": [1, 2.5, True, None, "x"]}),
        ('"\N{GRINNING FACE}"'.encode(), "\N{GRINNING FACE}"),
        (rb'"\ud83d\ude00"', "\N{GRINNING FACE}"),
        (b"9007199254740991", 2**53 - 1),
        (b"-9007199254740991", -(2**53) + 1),
        (b"[[[[[[[[1]]]]]]]]", [[[[[[[[1]]]]]]]]),
    ],
)
def test_json_that_means_the_same_to_everybody_is_taken(body, value):
    assert loads_strictly(body) == value


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"{'a': 1}",
        b'{"a": 1} x',
        b'{"a": "\xff"}',
        b'{"a": 1, "a": 1}',
        b'{"a": {"b": 1, "b": 2}}',
        b"NaN",
        b"[Infinity]",
        b"-Infinity",
        b"1e999",
        b"9007199254740992",
        b"-9007199254740992",
        b"1" + b"0" * 400,
        b"1" + b"0" * 100_000,
        b"[[[[[[[[[1]]]]]]]]]",
        b"[" * 500 + b"]" * 500,
        b"[" * 100_000,
        b'{"a":' * 100_000,
    ],
)
def test_json_that_readers_differ_on_is_refused(body):
    with pytest.raises(InvalidRequest) as caught:
        loads_strictly(body)

    assert caught.value.code == "json_invalid"


@pytest.mark.parametrize(
    ("value", "pointer"),
    [
        ({"a": "x\0"}, "/a"),
        ({"a": ["", "\ud800"]}, "/a/1"),
        ({"a": {"b/c": "\udfff"}}, "/a/b~1c"),
        ({"a\0": 1}, ""),
        ({"x": {"\udc00": 1}}, "/x"),
    ],
)
def test_text_that_postgresql_cannot_hold_is_refused_where_it_stands(value, pointer):
    with pytest.raises(InvalidRequest) as caught:
        loads_strictly(json.dumps(value).encode())

    assert (caught.value.code, caught.value.pointer) == ("text_invalid", pointer)


def test_a_pointer_begins_where_the_text_stands_in_the_request():
    with pytest.raises(InvalidRequest) as caught:
        loads_strictly(rb'{"a": "\u0000"}', pointer="/metadata")

    assert caught.value.pointer == "/metadata/a"


def test_pointers_escape_what_separates_them():
    assert pointer_to("a/b", 0, "~x") == "/a~1b/0/~0x"


@pytest.mark.parametrize("text", ["", "a", "é", "\N{GRINNING FACE}", "\x01"])
def test_ordinary_text_is_storable(text):
    assert is_storable(text)


def test_a_long_key_is_not_copied_for_each_of_its_values():
    body = b'{"\\u0041' + b"a" * 400_000 + b'":[' + b"0," * 99_000 + b"0]}"
    before = time.thread_time()

    parsed = loads_strictly(body)

    assert time.thread_time() - before < 2
    assert len(parsed["A" + "a" * 400_000]) == 99_001


@pytest.mark.parametrize(
    "body",
    [
        b'{"a":[' + b"[]," * 300_000 + b"[]]}",
        b'{"a":[' + b'{"a":1},' * 100_000 + b"{}]}",
        b'{"a":[' + b'"a",' * 200_000 + b'"a"]}',
        b'{"a":[' + b'["["],' * 150_000 + b"[]]}",
        b'{"a":[' + b'",",' * 200_000 + b'"a"]}',
    ],
    ids=["lists", "objects", "texts", "brackets in texts", "commas in texts"],
)
def test_more_values_than_a_request_has_are_refused_unparsed(body):
    before = time.thread_time()

    with pytest.raises(InvalidRequest, match="has more than") as caught:
        loads_strictly(body)

    assert caught.value.code == "json_invalid"
    assert time.thread_time() - before < 0.1


def test_brackets_and_commas_in_texts_are_no_values():
    text = "[{,\\" * 110_000

    assert loads_strictly(json.dumps({"a": text}).encode()) == {"a": text}


def test_a_byte_order_mark_is_ignored():
    assert loads_strictly(b'\xef\xbb\xbf{"a": 1}') == {"a": 1}
