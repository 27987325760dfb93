import re
import zlib

import pytest

from jobs.accounts.authentication import _checksum, parse_public_id

BODY = "tp_live_" + "Ab3dEf9h" + "_" + "k" * 40
KEY = BODY + _checksum(BODY)


def test_a_whole_key_yields_its_public_id():
    assert parse_public_id(KEY) == "Ab3dEf9h"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "tp_live_",
        KEY[:-1],
        KEY + "x",
        KEY + "\n",
        " " + KEY,
        KEY.replace("tp_live", "tp_test"),
        KEY.replace("Ab3dEf9h", "Ab3dEf9i"),
        KEY.replace("k", "l", 1),
        KEY[:-1] + ("0" if KEY[-1] != "0" else "1"),
        KEY.upper(),
        KEY.replace("k", "é", 1),
    ],
)
def test_a_mistyped_key_is_told_without_asking_the_database(text):
    assert parse_public_id(text) is None


def test_the_checksum_is_crc32_in_base62():
    alphabet = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
    number = 0
    for digit in _checksum(BODY):
        number = number * 62 + alphabet.index(digit)

    assert number == zlib.crc32(BODY.encode())
    assert re.fullmatch(r"[0-9A-Za-z]{6}", _checksum(BODY))
