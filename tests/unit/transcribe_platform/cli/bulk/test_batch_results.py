"""What a batch's results become in a folder, from a server that has them."""

import io
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest

from transcribe_platform.cli.main import main


class Platform:
    """A batch `b` of the jobs that it is told of; remembers what it was asked."""

    def __init__(self) -> None:
        self.jobs: list[dict[str, Any]] = []
        self.errors: list[dict[str, Any]] = []
        self.asked: list[str] = []
        self.cut = 0
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.asked.append(self.path.removeprefix("/v1/"))
                content = outer.answer(outer.asked[-1])
                self.send_response(410 if content is None else 200)
                body = b'{"code": "erased"}' if content is None else content
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_args: object) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.http.serve_forever, args=(0.01,)).start()

    def has(self, *custom_ids: str | None) -> None:
        for number, custom_id in enumerate(custom_ids):
            job_id = f"{number:032}"
            self.jobs.append(
                {
                    "job_id": job_id,
                    "custom_id": custom_id,
                    "audio_url": "https://a.example.com/x%20y/call.wav?token=1",
                    "transcript_url": f"http://localhost/v1/transcripts/{job_id}",
                }
            )

    def answer(self, path: str) -> bytes | None:
        if path.endswith("/errors"):
            return _lines(self.errors)
        if path.endswith("/results"):
            return _lines(self.jobs)
        if path.startswith("transcripts/"):
            job_id = path.removeprefix("transcripts/").partition("?")[0]
            kept = {job["job_id"] for job in self.jobs if job["transcript_url"]}
            return job_id.encode() if job_id in kept else None
        assert path == "batches/b/transcripts.zip?format=srt"
        packed = self.pack()
        return packed[: len(packed) - self.cut]

    def pack(self) -> bytes:
        target = io.BytesIO()
        with ZipFile(target, "w") as archive:
            listed = []
            for number, job in enumerate(self.jobs):
                name = f"{number}.srt" if job["transcript_url"] else None
                listed.append({"job_id": job["job_id"], "file": name})
                if name:
                    archive.writestr(name, job["job_id"])
            archive.writestr("manifest.jsonl", _lines(listed))
        return target.getvalue()


def _lines(values: list[dict[str, Any]]) -> bytes:
    return b"".join(json.dumps(value).encode() + b"\n" for value in values)


@pytest.fixture
def platform(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Platform]:
    started = Platform()
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("TRANSCRIBE_API_KEY", "k")
    url = f"http://127.0.0.1:{started.http.server_port}"
    monkeypatch.setenv("TRANSCRIBE_URL", url)
    yield started
    started.http.shutdown()
    started.http.server_close()


def fetch(out: Path) -> int:
    return main(["batches", "results", "b", "-f", "srt", "--out", str(out), "--json"])


def read_folder(out: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in out.glob("*.srt")}


def read_lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_many_come_in_one_archive_and_are_not_fetched_again(
    platform: Platform, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    platform.has(*(f"call-{number}" for number in range(30)))
    platform.errors = [
        {"status": "rejected", "line": 7, "code": "json_invalid"},
        {"status": "rejected", "line": 7, "code": "field_invalid"},
        {"status": "failed", "line": 9, "code": "audio_url_refused"},
    ]
    out = tmp_path / "out"

    first = fetch(out)
    asked = list(platform.asked)
    second = fetch(out)

    lists = ["batches/b/errors", "batches/b/results"]
    assert asked == [*lists, "batches/b/transcripts.zip?format=srt"]
    assert platform.asked[len(asked) :] == lists
    assert read_folder(out) == {
        f"call-{number}.srt": f"{number:032}" for number in range(30)
    }
    results = read_lines(out / "results.jsonl")
    assert results[3] == {**platform.jobs[3], "files": ["call-3.srt"]}
    assert read_lines(out / "errors.jsonl") == platform.errors
    told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert told == [{"type": "fetched", "files": 30, "failed": 1, "skipped": 1}] * 2
    assert (first, second) == (0, 0)
    assert not [path.name for path in out.iterdir() if path.name.startswith(".")]


def test_a_few_are_fetched_one_by_one(platform: Platform, tmp_path: Path) -> None:
    platform.has(*(f"call-{number}" for number in range(30)))
    fetch(tmp_path)
    whole = read_folder(tmp_path)
    platform.asked.clear()
    for name in ("call-3.srt", "call-4.srt"):
        (tmp_path / name).unlink()

    fetch(tmp_path)

    assert sorted(platform.asked[2:]) == [
        f"transcripts/{number:032}?format=srt" for number in (3, 4)
    ]
    assert read_folder(tmp_path) == whole


@pytest.mark.parametrize("others", [0, 30])
def test_names_that_would_be_one_file_are_told_apart(
    platform: Platform, tmp_path: Path, others: int
) -> None:
    platform.has("c/1", "c_1", "A", "a", None, *(f"o-{n}" for n in range(others)))

    fetch(tmp_path)

    written = read_folder(tmp_path)
    assert {name: written[name] for name in written if not name.startswith("o-")} == {
        "c_1-000000000000.srt": f"{0:032}",
        "c_1-000000000001.srt": f"{1:032}",
        "A-000000000002.srt": f"{2:032}",
        "a-000000000003.srt": f"{3:032}",
        "call-000000000004.srt": f"{4:032}",
    }


def test_what_was_erased_has_no_file_and_is_counted(
    platform: Platform, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    platform.has("one", "two")
    platform.jobs[1]["transcript_url"] = None

    fetch(tmp_path)

    assert json.loads(capsys.readouterr().out)["failed"] == 1
    results = read_lines(tmp_path / "results.jsonl")
    assert [result["files"] for result in results] == [["one.srt"], []]


def test_an_archive_that_broke_off_leaves_nothing_by_halves(
    platform: Platform, tmp_path: Path
) -> None:
    platform.has(*(f"call-{number}" for number in range(30)))
    platform.cut = 10

    assert fetch(tmp_path / "out") == 5

    written = {path.name for path in (tmp_path / "out").iterdir()}
    assert written == {"errors.jsonl"}
