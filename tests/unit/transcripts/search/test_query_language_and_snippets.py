"""What search is made of, without a database."""

import math
import time

import pytest

from transcripts import word_times
from transcripts.search import languages as search_languages
from transcripts.search import snippets
from transcripts.search.query_language import NotSearchable, Term, TermKind, parse_words


def word(text: str, start: object, **more: object) -> dict[str, object]:
    return {"word": text, "start": start, **more}


def starts(*channels: dict) -> list[float | None]:
    packed = word_times.pack_starts(list(channels))
    return [word_times.start_of(packed, index) for index in range(len(packed) // 3)]


def test_each_token_has_the_start_of_its_word_channel_after_channel():
    first = {"transcript": "Hi there", "words": [word("hi", 0.5), word("there", 1.25)]}
    second = {"transcript": "Yes", "words": [word("yes", 0.9)]}

    assert starts(first, {"transcript": ""}, second) == [0.5, 1.25, 0.9]


def test_tokens_that_are_no_words_are_laid_over_them():
    words = [word("x", 1, punctuated_word="(555) 1234"), word("now", 4)]
    assert starts({"transcript": "(555) 1234 now", "words": words}) == [1, 1, 4]
    words = [word("東京", 1), word("に", 2), word("行く", 3)]
    assert starts({"transcript": "東京に行く", "words": words}) == [1, 1, 2, 3, 3]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (None, []),
        ([], []),
        ([3, {}], [0, 0]),
        ([word("a", "soon"), word("b", 2)], [0, 2]),
        ([word("a", 2), word("b", math.nan)], [2, 2]),
        ([word("a", -1), word("b", 1e300)], [0, 0]),
        ([word("a", 900_000), word("b", 1)], [167772.15, 1]),
        ([word("a", 5)], [5, 5]),
    ],
)
def test_odd_documents_have_what_times_they_have(words, expected):
    assert starts({"transcript": "a b", "words": words}) == expected


def test_no_token_past_the_end_has_a_time():
    assert word_times.start_of(b"\0\0\1", 0) == 0.01
    assert word_times.start_of(b"\0\0\1\0", 1) is None


def test_languages_find_their_rules():
    def of(detected: str, **options: object) -> str:
        language = search_languages.language_of(detected=detected, options=options)
        return search_languages.config_of(language)

    assert of("") == "english"
    assert of("", language="de-CH") == "german"
    assert of("fr", language="de") == "french"
    assert of("", language="multi") == "simple"
    assert of("", language=7) == "english"
    assert search_languages.prepare_by_first_rule("ＣＡＦÉ 東京") == "café  東  京 "


def test_a_search_box_is_read_as_people_write():
    def term(text: str, kind: TermKind = TermKind.PHRASE, *, no: bool = False) -> Term:
        return Term(text=text, kind=kind, is_excluded=no)

    assert parse_words('Refund -"not Happy" or DELIV* co* -x') == [
        [term("refund"), term("not happy", no=True)],
        [term("deliv", TermKind.PREFIX), term("co"), term("x", no=True)],
    ]
    assert parse_words('"open end OR') == [[term("open end or")]]
    assert parse_words("a OR OR b") == [[term("a")], [term("b")]]
    with pytest.raises(NotSearchable):
        parse_words("-x")


def test_the_best_places_are_those_where_the_words_meet():
    filler = ["um"] * 30
    said = [*filler, "refund", *filler, "refund,", "late", *filler, "late"]
    packed = b"".join((100 * n).to_bytes(3, "big") for n in range(len(said)))
    matched = {"refund": "refund", "refund,": "refund", "late": "late"}

    cut = snippets.cut_snippets(said, " ", starts=packed, matched=matched)

    assert [it.start_seconds for it in cut] == [30, 61, 93]
    parts = [(part.text, part.is_match, part.start_seconds) for part in cut[1].parts]
    assert parts == [
        ("um " * 8, False, None),
        ("refund, late", True, 61),
        (" " + "um " * 13 + "um", False, None),
    ]
    only = snippets.cut_snippets(
        ["um", *said[61:63], *filler, *said[30:31] * 60],
        " ",
        starts=b"",
        matched=matched,
    )
    assert only[0].start_seconds is None
    assert only[0].parts[1].text == "refund, late"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("refund", ("", "refund", "")),
        ("“refund”, ", ("“", "refund", "”, ")),
        ("a-b c.", ("", "a-b c", ".")),
        ("…", ("…", "", "")),
        ("", ("", "", "")),
        ("\n(x)\n", ("\n(", "x", ")\n")),
    ],
)
def test_what_surrounds_a_match_is_told_from_it(text, expected):
    assert snippets._split_punctuation(text) == expected


def test_a_match_of_much_punctuation_is_split_in_one_pass():
    text = "a" + "!" * 1_000_000 + "a"
    before = time.thread_time()

    assert snippets._split_punctuation(text) == ("", text, "")
    assert time.thread_time() - before < 1


def test_characters_that_normalize_to_a_shorter_word_are_no_prefix():
    (group,) = parse_words("\u1112\u1161\u11ab*")

    assert group == [Term(text="\ud55c")]
