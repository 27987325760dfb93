from uuid import UUID

import pytest

from transcripts.results.names import FileNames, choose_stem, make_safe

JOB = UUID("0b7c2a9e-1f5d-7b7a-9c55-2f1f9e1f4a11")


@pytest.mark.parametrize(
    ("wish", "name"),
    [
        ("call-4711", "call-4711"),
        ("a/b\\c:d", "a_b_c_d"),
        ("../../etc/passwd", "_.._etc_passwd"),
        ("..", ""),
        ("   ", ""),
        (".hidden", "hidden"),
        ("-rf", "rf"),
        ("ends.", "ends"),
        ("CON", "_CON"),
        ("nul.old", "_nul.old"),
        ("console", "console"),
        ("a\x00b\nc", "a_b_c"),
        ("Gespr\u00e4ch", "Gespr\u00e4ch"),
        ("Gespra\u0308ch", "Gespr\u00e4ch"),
        ("\u65e5\u672c", "\u65e5\u672c"),
        ("\u202egpj.exe", "_gpj.exe"),
        ("x" * 400, "x" * 180),
        ("\u65e5" * 100, "\u65e5" * 60),
        ("\ud800x", "_x"),
    ],
)
def test_a_name_is_safe_everywhere(wish, name):
    assert make_safe(wish) == name


def test_equal_names_are_told_apart_also_by_case_and_on_purpose():
    names = FileNames("srt")

    wishes = ["a", "A", f"a-{JOB}", "a", ""]

    assert [names.choose(wish, JOB) for wish in wishes] == [
        "a.srt",
        f"A-{JOB}.srt",
        f"a-{JOB}-{JOB}.srt",
        f"a-{JOB}-2.srt",
        f"{JOB}.srt",
    ]


@pytest.mark.parametrize(
    ("facts", "wish"),
    [
        (("id", "f.wav", "https://x/u.wav"), "id"),
        (("", "dir\\f.x.wav", "https://x/u.wav"), "f.x"),
        (("", "", "https://x/a/u%20v.wav?token=secret#f"), "u v"),
        (("", "", "https://x"), ""),
        (("", "", ""), ""),
    ],
)
def test_a_file_is_called_after_its_id_or_its_audio(facts, wish):
    names = ("custom_id", "filename", "audio_url")

    assert choose_stem(**dict(zip(names, facts, strict=True))) == wish
