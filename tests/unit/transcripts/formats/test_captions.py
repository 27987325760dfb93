from itertools import pairwise

import pytest
import wcwidth
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.captions import build, document_of, read_srt, read_vtt, say
from transcripts.formats.lines import count_columns, ends_clause

READERS = {"srt": read_srt, "vtt": read_vtt}
ODD = [-1.0, 0.0, 0.1, 1.0, 1.1, 2.5, 90000.5, float("nan"), 1e300, None, "x", True]
TEXTS = st.text(
    st.sampled_from(
        "abc,.?! <>&-{}/\\\u00e9e\u0301\u65e5\u672c\u3002\u0e44\U0001f44d\n\u2028\x00"
    ),
    max_size=60,
)
WORDS = st.fixed_dictionaries(
    {
        "word": TEXTS,
        "start": st.one_of(st.floats(0, 40), st.sampled_from(ODD)),
        "end": st.one_of(st.floats(0, 40), st.sampled_from(ODD)),
    },
    optional={"speaker": st.sampled_from([0, 1, 12, None, -3, 10**20, "0"])},
)
CHANNELS = st.lists(st.lists(WORDS, max_size=12), max_size=3)


def times(shown):
    return [(caption.start, caption.end) for caption in shown]


def bare(text):
    """Return what must not be lost of a text, as SubRip writes it."""
    alike = str.maketrans("<>{}", "\u2039\u203a()", "\x00")
    return sorted("".join(text.split()).translate(alike))


@settings(max_examples=60, deadline=None)
@given(CHANNELS, st.sampled_from([None, 0, 30.0]))
def test_captions_are_in_order_apart_readable_and_whole(channels, duration):
    document = document_of(*channels, duration=duration)
    said = "".join(word["word"] for words in channels for word in words)

    for name, read in READERS.items():
        shown = read(build(name, document))

        assert all(1000 <= it.end - it.start <= 7000 for it in shown)
        assert all(one.end <= other.start for one, other in pairwise(shown))
        lines = [it.text.split("\n") for it in shown]
        assert all(1 <= len(it) <= 2 for it in lines)
        assert all(line and wcwidth.width(line) <= 42 for it in lines for line in it)
        if name == "vtt":
            assert bare("".join(it.text for it in shown)) == bare(said)
    assert not any("\x00" in build(name, document) for name in READERS)


@given(st.lists(WORDS, min_size=1, max_size=12))
@settings(max_examples=30, deadline=None)
def test_subrip_loses_nothing_either(words):
    one_voice = [{**word, "speaker": None} for word in words]
    said = "".join(word["word"] for word in words)

    shown = read_srt(build("srt", document_of(one_voice)))

    assert bare("".join(it.text for it in shown)) == bare(said)


def test_a_caption_ends_with_a_sentence_a_pause_a_voice_and_when_it_is_full():
    words = [
        *say("Good morning everyone.", speaker=0),
        *say("Yes.", at=1.2, speaker=0),
        *say("And it goes on", at=1.6, speaker=0),
        *say("after a pause", at=4.1, speaker=0),
        *say("said another, who", at=5.3, speaker=1),
        *say(
            "had a very great many words to say about nothing at all, it seems",
            at=6.5,
            each=0.2,
            speaker=1,
        ),
    ]

    shown = read_vtt(build("vtt", document_of(words)))

    assert [(*it[:2], it.voice, it.text) for it in shown] == [
        (0, 1200, "Speaker 0", "Good morning everyone."),
        (1200, 3200, "Speaker 0", "Yes. And it goes on"),
        (4100, 5300, "Speaker 0", "after a pause"),
        (
            5300,
            8900,
            "Speaker 1",
            "said another, who had a very great\nmany words to say about nothing at all,",
        ),
        (8900, 9900, "Speaker 1", "it seems"),
    ]


def test_subrip_names_a_voice_where_it_changes_and_only_there():
    first = [*say("Hello there.", speaker=0), *say("How are you?", at=2.0, speaker=0)]
    words = [*first, *say("Fine.", at=3.5, speaker=1)]

    assert build("srt", document_of(words)) == (
        "1\n00:00:00,000 --> 00:00:01,000\nSpeaker 0: Hello there.\n\n"
        "2\n00:00:02,000 --> 00:00:03,200\nHow are you?\n\n"
        "3\n00:00:03,500 --> 00:00:04,500\nSpeaker 1: Fine.\n"
    )
    assert "Speaker" not in build("srt", document_of(first))


def test_channels_are_put_in_order_by_time_and_never_overlap():
    left = [*say("I speak and speak.", each=1.0), *say("Again I do.", at=6.0)]
    right = say("Uh huh.", at=2.0)

    shown = read_vtt(build("vtt", document_of(left, right)))

    assert shown == [
        (0, 2000, "I speak and speak.", "Channel 0"),
        (2000, 3000, "Uh huh.", "Channel 1"),
        (6000, 7200, "Again I do.", "Channel 0"),
    ]


def test_a_voice_may_be_a_speaker_of_a_channel():
    document = document_of(say("Hi.", speaker=1), say("Yes.", at=3.0, speaker=0))

    assert build("vtt", document).count("<v Channel 0 Speaker 1>Hi.") == 1
    assert "Channel 1 Speaker 0: Yes." in build("srt", document)


@pytest.mark.parametrize(
    ("seconds", "written"), [(90000.5, "25:00:00.500"), (362439.001, "100:40:39.001")]
)
def test_hours_go_on_counting(seconds, written):
    text = build("vtt", document_of(say("Late.", at=seconds)))

    assert text.startswith(f"WEBVTT\n\n{written} --> ")
    assert read_vtt(text)[0].start == round(seconds * 1000)
    assert f"\n{written.replace('.', ',')} --> " in build(
        "srt", document_of(say("Late.", at=seconds))
    )


def test_markup_in_words_is_escaped():
    words = say("a <b>bold</b> & --> {\\an8}", speaker=0)

    vtt, srt = build("vtt", document_of(words)), build("srt", document_of(words))

    assert "<v Speaker 0>a &lt;b&gt;bold&lt;/b&gt; &amp; --&gt; {\\an8}\n" in vtt
    assert "\na \u2039b\u203abold\u2039/b\u203a & --\u203a (\\an8)\n" in srt


def test_what_has_no_spaces_is_cut_by_its_width_and_not_spaced_out():
    word = {"word": "\u65e5\u672c\u8a9e" * 20, "start": 0, "end": 12}
    tail = say("\u3067\u3059\u3002", at=12.0)

    shown = read_vtt(build("vtt", document_of([word, *tail])))

    assert [len(line) for it in shown for line in it.text.split("\n")] == [21, 21, 21]
    assert [it.start for it in shown] == [0, 4200, 8400]
    assert build("text", document_of([word, *tail]), text="\u3042") == "\u3042"


def test_a_balanced_break_goes_after_a_comma_if_it_can():
    text = "When all of this was over, nobody knew what to do"

    shown = read_vtt(build("vtt", document_of(say(text, each=0.3))))

    assert shown[0].text == "When all of this was over,\nnobody knew what to do"


def test_what_follows_a_comma_stays_together_only_if_it_fits():
    text = (
        "a b c d e f, wwwwwwwwwwwwwwwwwwwwwwww wwwwwwwwwww wwwwwwwwwwww wwwwwwww wwwww"
    )

    shown = read_vtt(build("vtt", document_of(say(f"{text} {'x' * 40}", each=0.2))))

    assert [it.text.replace("\n", " ") for it in shown] == [text, "x" * 40]


def test_text_without_words_is_spread_over_the_audio():
    document = document_of([], duration=8.0)
    document["results"]["channels"][0]["alternatives"][0]["transcript"] = "one two"

    assert times(read_srt(build("srt", document))) == [(0, 4000), (4000, 8000)]


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"results": []},
        {"results": {"channels": [None]}},
        document_of([]),
        document_of([None, 1]),
    ],
)
def test_silence_and_odd_documents_are_empty_files(document):
    assert build("srt", document) == ""
    assert build("vtt", document) == "WEBVTT\n"
    assert build("text", document, text="") == ""


ENDS = {
    "ar": ("هل وصلت الرسالة؟", "نعم وصلت."),
    "ur": ("یہ پہلا جملہ ہے۔", "یہ دوسرا ہے۔"),
    "hi": ("यह पहला वाक्य है।", "यह दूसरा है।"),
    "sa": ("धर्मक्षेत्रे कुरुक्षेत्रे॥", "समवेता युयुत्सवः॥"),
    "zh": ("我 明天 来 吗？」", "好 的。"),
    "ja": ("明日 来 ます か。", "はい！"),
    "half-width": ("ｱｼﾀ ｷﾏｽ｡", "ﾊｲ｡"),
    "hy": ("Բարև ձեզ։", "Ինչպես եք։"),
    "am": ("ሰላም ለዓለም።", "ደህና ነህ።"),
    "km": ("សួស្តី ពិភពលោក។", "អរគុណ។"),
    "my": ("မင်္ဂလာပါ ခင်ဗျာ။", "ကျေးဇူးပါ။"),
    "en": ("Are you “there?”", "Yes."),
    "interrobang": ("You did what⁉", "Yes‼"),
}


@pytest.mark.parametrize("language", list(ENDS))
def test_a_caption_ends_with_a_sentence_of_any_script(language):
    first, second = ENDS[language]
    words = [*say(first, each=0.6), *say(second, at=0.6 * len(first.split()))]

    shown = read_vtt(build("vtt", document_of(words)))

    assert len(shown) == 2
    assert ["".join(it.text.split()) for it in shown] == [
        "".join(text.split()) for text in (first, second)
    ]


@pytest.mark.parametrize("end", ["،", "؛", "、", "，", "；", "：", ",", "।", ",”"])
def test_a_balanced_break_goes_after_a_clause_of_any_script(end):
    text = f"When all of this was over{end} nobody knew what to do"

    shown = read_vtt(build("vtt", document_of(say(text, each=0.3))))

    assert shown[0].text.split("\n")[0].endswith(f"over{end}")


@pytest.mark.parametrize("end", ["-", "–", "·", "'"])
def test_a_hyphen_ends_no_clause(end):
    assert not ends_clause(f"over{end}")


CLUSTERS = [
    "👨\u200d👩\u200d👧\u200d👦",
    "🏳️\u200d🌈",
    "🇩🇪",
    "👍🏽",
    "e\u0301\u0323",
    "हि",
    "한",
    "กำ",
    "1️⃣",
]


@pytest.mark.parametrize("cluster", CLUSTERS)
@pytest.mark.parametrize("before", ["", "x"])
def test_a_long_word_is_never_cut_inside_a_cluster(cluster, before):
    word = {"word": before + cluster * 70, "start": 0.0, "end": 10.0}

    shown = read_vtt(build("vtt", document_of([word])))

    lines = [line for it in shown for line in it.text.split("\n")]
    assert "".join(lines) == before + cluster * 70
    assert all(not line.removeprefix(before).replace(cluster, "") for line in lines)
    widths = [wcwidth.width(line) for line in lines]
    assert max(widths) in {41, 42}
    assert all(width >= 41 for width in widths[:-1])


@pytest.mark.parametrize(
    ("text", "columns"),
    [
        ("abc", 3),
        ("日本", 4),
        ("नमस्ते", 4),
        ("👨\u200d👩\u200d👧", 2),
        ("e\u0301", 1),
        ("สวัสดี", 4),
        ("ｱ", 1),
    ],
)
def test_the_width_is_that_of_the_columns(text, columns):
    assert count_columns(text) == columns
