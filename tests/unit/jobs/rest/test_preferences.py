import time

import pytest

from jobs.rest.preferences import Preferences


@pytest.mark.parametrize(
    ("header", "seconds", "respond_async"),
    [
        ("", 0, False),
        ("wait=5", 5, False),
        ("WAIT=5", 5, False),
        ("wait = 5", 5, False),
        ('wait="5"', 5, False),
        ("wait=60", 60, False),
        ("wait=61", 60, False),
        ("wait=999999999", 60, False),
        ("wait=9999999999", 0, False),
        ("wait=0", 0, False),
        ("wait=007", 7, False),
        ("wait=-1", 0, False),
        ("wait=1.5", 0, False),
        ("wait=abc", 0, False),
        ("wait=", 0, False),
        ("wait", 0, False),
        ("wait=\u0665", 0, False),
        ("wait=5, wait=9", 5, False),
        ("wait=abc, wait=9", 0, False),  # the first counts
        ("respond-async", 0, True),
        ("respond-async, wait=10", 10, True),
        ("wait=10,respond-async", 10, True),
        ("Respond-Async; x=y, wait=10", 10, True),
        ('wait=10; x="a,b"; y', 10, False),
        ('foo="a, wait=3", wait=4', 4, False),
        ('foo="a\\", wait=3", wait=4', 4, False),
        ("return=minimal, , ,handling=lenient,wait=2", 2, False),
        ("wait=5 seconds", 0, False),
        ("; wait=5", 0, False),
        ('"wait"=5', 0, False),
        ('wait="5', 0, False),
        ("\x00wait=5", 0, False),
    ],
)
def test_what_is_understood_counts_and_the_rest_is_passed_over(
    header, seconds, respond_async
):
    parsed = Preferences.parse(header)

    assert (parsed.wait_seconds, parsed.respond_async) == (seconds, respond_async)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ('wait="1\\0"', 10),
        ('wait=5, x="open', 5),
        ('x="open, wait=5', 0),
        ("wait=5;", 5),
        ("wait = 5 ; a = b , x", 5),
        ('x;y="a, wait=3";z, wait=4', 4),
        ("a=" + " " * 980 + '"', 0),
        ("a" + " " * 900 + ",wait=7", 7),
    ],
)
def test_quotes_and_spaces_are_read_by_the_letter(header, seconds):
    assert Preferences.parse(header).wait_seconds == seconds


@pytest.mark.parametrize("piece", [",", '"', '",', "\\", 'a="', ";", "a=;", " ", "=,"])
def test_nonsense_is_read_at_once(piece):
    began = time.process_time()

    Preferences.parse(piece * 20_000 + "wait=5")

    assert time.process_time() - began < 0.05
