from pathlib import Path

import click
import pytest

from transcribe_platform.cli.bulk.sources import SourceKind, find_sources


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("a.wav", "a.mp3", "b.WAV", "notes.txt", "sub/c.ogg", "sub/.d.wav"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"123")
    (tmp_path / "empty").mkdir()
    return tmp_path


def test_a_folder_is_its_audio_and_each_result_has_a_name_of_its_own():
    found = find_sources(["."])

    assert [(source.name, str(source.target)) for source in found] == [
        ("a.mp3", "a.mp3"),
        ("a.wav", "a.wav"),
        ("b.WAV", "b"),
        ("sub/c.ogg", "sub/c"),
    ]
    assert {source.size_bytes for source in found} == {3}


def test_what_is_named_twice_is_there_once():
    assert len(find_sources(["a.wav", "./a.wav", "a.*v", "sub/../a.wav"])) == 1


def test_a_file_that_is_named_is_taken_whatever_it_is_called():
    (source,) = find_sources(["notes.txt"])

    assert (source.kind, str(source.target)) == (SourceKind.FILE, "notes")


@pytest.mark.parametrize(
    ("url", "target"),
    [
        ("https://a.example/x/talk%20one.mp3?sig=secret", "talk_one"),
        ("https://a.example/", "audio"),
        ("https://a.example/..%2f..%2fetc", "etc"),
        ("HTTP://a.example/..", "audio"),
    ],
)
def test_a_url_writes_nowhere_but_where_it_should(url: str, target: str):
    (source,) = find_sources([url])

    assert source.kind is SourceKind.URL
    assert str(source.target) == target


@pytest.mark.parametrize("name", ["m.jsonl", "m.CSV", "m.csv.gz", "m.ndjson"])
def test_a_manifest_is_known_by_its_name(here: Path, name: str):
    (here / name).write_bytes(b"")

    assert [source.kind for source in find_sources([name])] == [SourceKind.MANIFEST]


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("gone.wav", "File not found: gone.wav"),
        ("*.flac", "No file matches"),
        ("empty", "No audio file in the folder empty"),
    ],
)
def test_what_is_not_there_is_said_before_anything_is_sent(word: str, said: str):
    with pytest.raises(click.UsageError, match=said.replace("*", r"\*")):
        find_sources(["a.wav", word])


PLAYABLE = [
    "flv",
    "m2ts",
    "vob",
    "mpga",
    "3g2",
    "aifc",
    "ogv",
    "mts",
    "m2t",
    "mxf",
    "wma",
    "asf",
    "rm",
    "ape",
    "tta",
    "wv",
    "ac3",
    "ec3",
    "dts",
    "w64",
    "spx",
    "oga",
    "m4r",
    "qt",
    "f4v",
    "divx",
    "voc",
    "au",
    "snd",
    "caf",
    "opus",
    "webm",
    "mka",
    "mk3d",
    "mpeg",
    "mpg",
    "m1v",
    "wave",
]


@pytest.mark.parametrize("extension", PLAYABLE)
def test_a_folder_includes_every_format_that_the_platform_reads(here, extension):
    folder = here / "more"
    folder.mkdir()
    (folder / f"a.{extension}").write_bytes(b"123")

    assert [source.path.name for source in find_sources(["more"])] == [f"a.{extension}"]


def test_a_folder_names_what_it_skips_and_takes_no_typescript(here):
    folder = here / "more"
    folder.mkdir()
    (folder / "film.ts").write_bytes(b"\x47\x40\x00\x10\xff" + bytes(183))
    (folder / "disc.TS").write_bytes(
        b"\x00\x00\x00\x01\x47\x40\x00\x10\xff" + bytes(183)
    )
    (folder / "app.ts").write_text('Greeting = "hello"; // TypeScript\n' * 9)
    (folder / "app2.ts").write_text("// Größe\n" * 30)
    (folder / "notes.txt").write_text("x")
    (folder / ".hidden").write_text("x")
    skipped: list[Path] = []

    found = find_sources(["more"], skipped=skipped)

    assert sorted(source.path.name for source in found) == ["disc.TS", "film.ts"]
    assert sorted(path.name for path in skipped) == ["app.ts", "app2.ts", "notes.txt"]
