"""Result files with the longest names, and what is said when one cannot be written."""

from pathlib import PurePosixPath

import pytest

from transcribe_platform.cli.bulk import outputs, report


@pytest.mark.parametrize("letter", ["a", "é", "日", "👨"])
@pytest.mark.parametrize("length", [200, 236, 240, 250, 251, 255])
@pytest.mark.parametrize("format_name", list(outputs.EXTENSIONS))
def test_a_name_of_255_bytes_has_a_result(tmp_path, letter, length, format_name):
    name = letter * (length // len(letter.encode()))

    path = outputs.build_path(tmp_path, PurePosixPath(name), format_name)
    outputs.write_atomically(path, b"x")
    with outputs.open_atomically(path) as file:
        file.write("y")

    assert path.read_text() == "y"
    assert [each.name for each in tmp_path.iterdir()] == [path.name]
    fits = len(name.encode()) + len(outputs.EXTENSIONS[format_name]) <= 255
    assert (path.name == name + outputs.EXTENSIONS[format_name]) == fits


def test_long_names_that_differ_at_their_end_stay_apart(tmp_path):
    paths = {
        outputs.build_path(tmp_path, PurePosixPath("a" * 250 + end), "json")
        for end in ("x", "y")
    }

    assert len(paths) == 2


def test_the_step_that_failed_is_named(tmp_path):
    (tmp_path / "a.txt").mkdir()

    with pytest.raises(outputs.NotWritten) as caught:
        outputs.write_atomically(tmp_path / "a.txt", b"x")

    said = report._detail(caught.value)
    assert said.startswith(f"The result cannot be written to {tmp_path / 'a.txt'}: ")
    assert report._detail(OSError(2, "No such file")) == (
        "The file cannot be read: No such file"
    )
