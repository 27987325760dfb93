import pytest

from workers.emulator.protocol import catalog, options, refusals


def parse(query: str) -> options.Options:
    return options.parse_options(options.split_query(query))


def sentence(query: str) -> str:
    with pytest.raises(refusals.Refused) as caught:
        parse(query)
    return caught.value.refusal.message


def test_defaults_are_deepgrams_own():
    shape = parse("").shape

    assert (shape.model, shape.family, shape.language) == ("base-general", "base", "en")
    assert shape.utterance_split == 0.8
    assert not shape.is_punctuated


@pytest.mark.parametrize(
    "name", ["punctuate", "smart_format", "paragraphs", "diarize", "detect_entities"]
)
def test_these_switch_punctuation_on(name):
    assert parse(f"{name}=true").shape.is_punctuated
    assert not parse(f"{name}=false").shape.is_punctuated


def test_a_diarize_model_implies_diarization():
    assert "diarize" in parse("diarize_model=latest").shape.flags


@pytest.mark.parametrize("name", sorted(catalog.FLAGS))
@pytest.mark.parametrize("value", ["True", "1", "", "yes"])
def test_flags_take_nothing_but_true_and_false(name, value):
    assert sentence(f"{name}={value}") == (
        "Failed to deserialize query parameters: "
        "provided string was not `true` or `false`"
    )


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ("channels=two", "invalid digit found in string"),
        ("sample_rate=-1", "invalid digit found in string"),
        ("sample_rate=99999999999", "number too large to fit in target type"),
        ("utt_split=long", "invalid float literal"),
        ("callback_method=GET", "unknown variant `GET`, expected one of `POST`, "),
        ("encoding=mp7", "unknown variant `mp7`, expected one of `linear16`, "),
        ("summarize=v9", "unknown variant `v9`, expected one of `true`, "),
    ],
)
def test_values_of_the_wrong_type_are_named(query, reason):
    assert sentence(query).startswith(
        f"Failed to deserialize query parameters: {reason}"
    )


@pytest.mark.parametrize(
    "query",
    [
        "model=gpt",
        "model=flux-general-en",
        "model=nova-2-atc-x",
        "model=general&tier=gold",
        "language=klingon!",
        "model=base&language=multi",
        "model=nova-2-medical&language=fr",
    ],
)
def test_what_does_not_go_together_is_refused(query):
    expected = "Bad Request: No such model/language/tier combination found."

    assert sentence(query) == expected


@pytest.mark.parametrize(
    ("query", "family"),
    [
        ("model=nova-3", "nova-3"),
        ("model=nova-3-medical&language=en-GB", "nova-3"),
        ("model=nova-2&language=multi", "nova-2"),
        ("model=whisper-large", "whisper"),
        ("model=phonecall&tier=nova", "nova"),
        ("model=1dbdfb4d-85b2-4659-9831-16b3c76229aa", "custom"),
    ],
)
def test_known_models_have_a_family(query, family):
    assert parse(query).shape.family == family


def test_key_terms_and_keywords_go_with_different_models():
    assert parse("model=nova-3&keyterm=a+b&keyterm=c")
    assert parse("model=nova-2&keywords=a:2")
    assert "Keyterms" in sentence("model=nova-2&keyterm=a")
    assert "Keywords" in sentence("model=nova-3&keywords=a")


def test_repeated_parameters_are_all_kept():
    wanted = parse("tag=a&tag=b+c&extra=k:v&extra=u:http://x&search=x&search=y")

    assert wanted.tags == ("a", "b c")
    assert wanted.extra == (("k", "v"), ("u", "http://x"))
    assert wanted.shape.search == ("x", "y")


@pytest.mark.parametrize(
    ("query", "is_detected", "allowed"),
    [
        ("", False, ()),
        ("detect_language=false", False, ()),
        ("detect_language=true", True, ()),
        ("detect_language=de&detect_language=fr", True, ("de", "fr")),
    ],
)
def test_languages_are_detected_among_those_allowed(query, is_detected, allowed):
    shape = parse(query).shape

    assert shape.is_language_detected is is_detected
    assert shape.languages_allowed == allowed


@pytest.mark.parametrize("url", ["ftp://a", "nonsense", "http://", "http://[x"])
def test_a_callback_must_be_a_web_address(url):
    assert sentence(f"callback={url}") == "Invalid callback url."


def test_tags_and_callbacks_do_not_change_the_shape():
    plain = parse("model=nova-3&utterances=true")
    tagged = parse(
        "utterances=true&model=nova-3&tag=job:1&callback=http://a/&extra=a:b"
    )

    assert plain.shape == tagged.shape
    assert hash(plain.shape) == hash(tagged.shape)


def test_every_family_can_be_named_alone():
    assert catalog.FAMILIES.keys() <= catalog.MODELS.keys()
