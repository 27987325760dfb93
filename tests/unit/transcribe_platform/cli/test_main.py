"""The command line without a platform: what it says when nothing can be done."""

from pathlib import Path

import pytest

from transcribe_platform.cli.main import main


@pytest.fixture(autouse=True)
def somebody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.setenv("TRANSCRIBE_API_KEY", "k")
    monkeypatch.setenv("TRANSCRIBE_URL", "http://127.0.0.1:1")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.wav").write_bytes(b"1")
    (tmp_path / "m.csv").write_bytes(b"1")


@pytest.mark.parametrize(
    ("words", "key", "code", "said"),
    [
        ("gone.wav", "k", 2, "File not found: gone.wav"),
        ("a.wav --format srt --format vtt", "k", 2, "Several formats need a folder"),
        ("a.wav --no-wait --out x", "k", 2, "--no-wait cannot be combined"),
        ("a.wav -o model", "k", 2, "--option needs NAME=VALUE"),
        ("a.wav --batch b", "k", 2, "A batch needs URLs or a manifest"),
        ("a.wav m.csv", "k", 2, "A manifest cannot be combined"),
        ("jobs list --since soon", "k", 2, "is not a time such as"),
        ("webhooks replay", "k", 2, "Specify delivery ids, or --endpoint"),
        ("a.wav", "", 3, "Set TRANSCRIBE_API_KEY="),
        ("usage", "k", 5, "Check that the server is running"),
    ],
)
def test_it_says_what_is_wrong_and_what_to_do(
    words: str,
    key: str,
    code: int,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("TRANSCRIBE_API_KEY", key)
    monkeypatch.setattr("threading.Event.wait", lambda *_args: False)  # no pauses

    assert main(words.split()) == code

    out, err = capsys.readouterr()
    assert out == ""
    assert said in err


def test_json_says_so_too_and_nothing_else(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TRANSCRIBE_API_KEY", "")

    assert main(["jobs", "list", "--json"]) == 3

    assert capsys.readouterr().out == (
        '{"type": "error", "code": "not_configured", "detail": "No API key is configured. '
        'Set TRANSCRIBE_API_KEY=tp_live_…, or run: transcribe configure"}\n'
    )
