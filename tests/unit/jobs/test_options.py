import pytest

from jobs.errors import InvalidRequest
from jobs.options import OPTIONS, check_combination, check_options

BOOLEANS = [
    "detect_entities",
    "diarize",
    "dictation",
    "filler_words",
    "intents",
    "measurements",
    "mip_opt_out",
    "multichannel",
    "numerals",
    "paragraphs",
    "profanity_filter",
    "punctuate",
    "sentiment",
    "smart_format",
    "topics",
    "utterances",
]
CUSTOM_MODEL = "0b7c2a9e-1f5d-4b7a-9c55-2f1f9e1f4a11"


def refusal(options):
    with pytest.raises(InvalidRequest) as caught:
        check_options(options)
    return caught.value


@pytest.mark.parametrize("name", BOOLEANS)
def test_a_switch_is_a_json_boolean(name):
    assert check_options({name: True}) == {name: True}
    assert check_options({name: None}) == {}
    for value in ("true", 1, 0, [], {}, "yes"):
        wrong = refusal({name: value})
        assert (wrong.code, wrong.pointer) == ("option_invalid", f"/options/{name}")
        assert "must be true or false" in wrong.message


@pytest.mark.parametrize(
    ("name", "value", "stored"),
    [
        ("model", "nova-3", "nova-3"),
        ("model", "nova-2-phonecall", "nova-2-phonecall"),
        ("model", "whisper-large", "whisper-large"),
        ("model", "base", "base"),
        ("model", CUSTOM_MODEL, CUSTOM_MODEL),
        ("version", "latest", "latest"),
        ("language", "en", "en"),
        ("language", "pt-BR", "pt-BR"),
        ("language", "zh-Hant-TW", "zh-Hant-TW"),
        ("language", "multi", "multi"),
        ("language_hint", "de", ["de"]),
        ("detect_language", True, True),
        ("detect_language", ["en", "es"], ["en", "es"]),
        ("keyterm", "Kubernetes", ["Kubernetes"]),
        ("keyterm", ["a", "b c"], ["a", "b c"]),
        ("keywords", ["snuffleupagus:5"], ["snuffleupagus:5"]),
        ("diarize_model", "v2", "v2"),
        ("redact", True, True),
        ("redact", "pci", ["pci"]),
        ("redact", ["pci", "ssn"], ["pci", "ssn"]),
        ("replace", ["find:put"], ["find:put"]),
        ("search", ["term"], ["term"]),
        ("tag", "emu:429x2", ["emu:429x2"]),
        ("extra", "key:value:more", ["key:value:more"]),
        ("summarize", True, True),
        ("summarize", "v2", "v2"),
        ("custom_topic", ["billing"], ["billing"]),
        ("custom_intent_mode", "strict", "strict"),
        ("utt_split", 0.8, 0.8),
        ("utt_split", 2, 2.0),
        ("encoding", "linear16", "linear16"),
        ("sample_rate", 8000, 8000),
        ("channels", 2, 2),
        ("audio_track", 2, 2),
    ],
)
def test_a_known_option_of_the_right_type_is_stored(name, value, stored):
    assert check_options({name: value}) == {name: stored}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("model", "gpt-4"),
        ("model", "nova-3 "),
        ("model", 3),
        ("model", ["nova-3"]),
        ("version", ""),
        ("version", "x" * 1001),
        ("language", "english please"),
        ("language", ["en"]),
        ("language_hint", []),
        ("detect_language", "english please"),
        ("detect_language", 1),
        ("keyterm", []),
        ("keyterm", [""]),
        ("keyterm", [1]),
        ("keyterm", [["a"]]),
        ("keyterm", {"a": 1}),
        ("keyterm", ["a"] * 101),
        ("diarize_model", "v3"),
        ("redact", "p c i"),
        ("replace", ["no colon"]),
        ("tag", "x" * 129),
        ("tag", "job:0b7c2a9e"),
        ("extra", ":value"),
        ("summarize", "v1"),
        ("custom_topic_mode", "loose"),
        ("utt_split", "0.8"),
        ("utt_split", True),
        ("utt_split", 0),
        ("utt_split", 61),
        ("encoding", "mp3"),
        ("sample_rate", 8000.5),
        ("sample_rate", True),
        ("sample_rate", 999),
        ("channels", 0),
        ("audio_track", 0),
        ("audio_track", 257),
        ("channels", "2"),
    ],
)
def test_a_value_of_the_wrong_type_is_refused_by_name(name, value):
    wrong = refusal({"punctuate": True, name: value})

    assert (wrong.code, wrong.pointer) == ("option_invalid", f"/options/{name}")
    assert wrong.message.startswith("This option must be ")


@pytest.mark.parametrize(
    ("name", "pointer", "hint"),
    [
        ("smart_fromat", "/options/smart_fromat", " Did you mean 'smart_format'?"),
        ("Model", "/options/Model", " Did you mean 'model'?"),
        ("zzz", "/options/zzz", ""),
        ("a/b~c", "/options/a~1b~0c", ""),
        ("interim_results", "/options/interim_results", ""),
        ("", "/options/", ""),
    ],
)
def test_an_unknown_option_is_refused_with_a_hint(name, pointer, hint):
    wrong = refusal({name: 1})

    assert (wrong.code, wrong.pointer) == ("option_unknown", pointer)
    assert wrong.message == f"Unknown option.{hint}"


@pytest.mark.parametrize("name", ["callback", "callback_method"])
def test_deepgrams_own_callback_is_refused_in_favour_of_ours(name):
    wrong = refusal({name: "https://a.test/"})

    assert wrong.code == "option_refused"
    assert "callback_url" in wrong.message


def test_every_option_of_the_table_has_an_example_here():
    examples = {
        name
        for mark in test_a_known_option_of_the_right_type_is_stored.pytestmark
        for name, *_ in mark.args[1]
    }
    same_as_others = {"custom_topic_mode", "custom_intent"}

    assert set(OPTIONS) == examples | same_as_others | set(BOOLEANS)


@pytest.mark.parametrize(
    ("options", "pointer"),
    [
        ({"model": "nova-2", "keyterm": ["a"]}, "/options/keyterm"),
        ({"keyterm": ["a"]}, "/options/keyterm"),
        ({"model": "nova-3-medical", "keywords": ["a"]}, "/options/keywords"),
        ({"model": "whisper-large", "keywords": ["a"]}, "/options/keywords"),
        ({"model": "nova-3", "language_hint": ["de"]}, "/options/language_hint"),
        (
            {"model": "nova-2", "language": "multi", "language_hint": ["de"]},
            "/options/language_hint",
        ),
        ({"encoding": "mulaw"}, "/options/encoding"),
    ],
)
def test_options_that_are_certain_to_fail_together_are_refused(options, pointer):
    with pytest.raises(InvalidRequest) as caught:
        check_combination(options)

    assert (caught.value.code, caught.value.pointer) == ("option_conflict", pointer)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"model": "nova-3", "keyterm": ["a"]},
        {"model": CUSTOM_MODEL, "keyterm": ["a"]},
        {"model": "nova-2", "keywords": ["a"]},
        {"model": "nova-3", "language": "multi", "language_hint": ["de"]},
        {"encoding": "linear16", "sample_rate": 8000},
        {"detect_language": True, "language": "en"},
    ],
)
def test_what_may_work_is_left_to_deepgram(options):
    check_combination(options)
