import pytest

from jobs.errors import InvalidRequest
from jobs.rest.idempotency import compute_digest, parse_key


@pytest.mark.parametrize(
    ("header", "key"),
    [
        (None, ""),
        ("abc", "abc"),
        ('"abc"', "abc"),
        ('"', '"'),
        ("a" * 255, "a" * 255),
        ('"' + "a" * 255 + '"', "a" * 255),
        ("!~", "!~"),
    ],
)
def test_a_key_may_stand_bare_or_in_quotes(header, key):
    assert parse_key(header) == key


@pytest.mark.parametrize(
    "header", ["", '""', "a b", "a\tb", "é", "a" * 256, '"' + "a" * 256 + '"', "\x7f"]
)
def test_a_key_is_visible_ascii_of_limited_length(header):
    with pytest.raises(InvalidRequest) as caught:
        parse_key(header)

    assert caught.value.code == "idempotency_key_invalid"
    assert caught.value.pointer == "Idempotency-Key"


def test_requests_are_compared_by_what_they_say_not_by_its_order():
    assert compute_digest({"a": 1, "b": 2}) == compute_digest({"b": 2, "a": 1})
    assert compute_digest({"a": 1}) != compute_digest({"a": "1"})
