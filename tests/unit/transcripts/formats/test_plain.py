from tests.support.captions import build, document_of, say
from transcripts.formats import FORMATS


def test_one_voice_without_paragraphs_is_the_transcripts_own_text():
    words = say("Hello world.", speaker=0)

    assert build("text", document_of(words), text="Hello  world.") == "Hello  world."


def test_paragraphs_stand_apart():
    words = [
        *say("It began so."),
        *say("It went on.", at=1.2),
        *say("And ended.", at=9.0),
    ]

    text = build("text", document_of(words, paragraphs=(0.0, 1.2)))

    assert text == "It began so.\n\nIt went on. And ended."


def test_speakers_are_named_once_for_all_they_say_in_a_row():
    words = [
        *say("Hello.", speaker=0),
        *say("Are you there?", at=3.0, speaker=0),
        *say("I am.", at=4.5, speaker=1),
        *say("Listen.", at=6.0, speaker=1),
    ]

    text = build("text", document_of(words, paragraphs=(0.0, 4.5, 6.0)))

    assert text == "Speaker 0: Hello. Are you there?\n\nSpeaker 1: I am.\n\nListen."


def test_channels_take_turns_by_time():
    left = [*say("Ready?"), *say("Go.", at=4.0)]
    right = say("I am ready.", at=1.0)

    assert build("text", document_of(left, right)) == (
        "Channel 0: Ready?\n\nChannel 1: I am ready.\n\nChannel 0: Go."
    )


def test_a_word_whose_speaker_is_not_known_has_no_name():
    words = [*say("Who", speaker=None), *say("me", at=0.4, speaker=1)]

    assert build("text", document_of(words)) == "Who\n\nSpeaker 1: me"


def test_half_a_surrogate_pair_breaks_no_format():
    document = document_of(say("\ud800 a", speaker=0))

    for name in FORMATS.keys() - {"raw"}:
        document["results"]["channels"] *= 2
        assert "?" in build(name, document)
