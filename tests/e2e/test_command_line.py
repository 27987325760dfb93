"""The command line as a process, against the real platform."""

import json
import os
import signal
import subprocess
import sys
import wave
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest

from jobs.audio import probe
from tests.support.platform_run import Run
from workers.demo import corpus

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.slow,
    pytest.mark.timeout(180),
    pytest.mark.xdist_group("run_platform"),  # one run for all of them
]

INHERITED = ("PATH", "PYTHONPYCACHEPREFIX")
TRAIN = corpus.FOLDER / "train.mp3"
CALLS = 12


class Shell:
    """Somebody with a key, a home of their own, and the command."""

    def __init__(self, ready: dict[str, Any], home: Path) -> None:
        self.ready = ready
        self.environment = {
            **{name: os.environ[name] for name in INHERITED if name in os.environ},
            "HOME": str(home),
            "TRANSCRIBE_URL": ready["web"],
            "TRANSCRIBE_API_KEY": ready["api_key"],
        }

    def start(self, *words: str | Path, **settings: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            (sys.executable, "-m", "transcribe_platform.cli", *words),
            env={**self.environment, **settings},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            # A shell that runs the tests behind its back has them ignore Ctrl-C.
            preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509
        )

    def run(self, *words: str | Path, **settings: str) -> tuple[int, str, str]:
        process = self.start(*words, **settings)
        out, err = process.communicate(timeout=90)
        return process.returncode, out, err

    def calls(self) -> int:
        """Count what the upstream was asked and has to be paid for."""
        log = httpx.get(f"{self.ready['emulator']}/__emu__/log", trust_env=False)
        return sum(call["path"] == "/v1/listen" for call in log.json()["requests"])

    @contextmanager
    def slowed_down(self, seconds: float) -> Iterator[None]:
        """Have the upstream take longer."""
        url = f"{self.ready['emulator']}/__emu__/faults"
        rule = {"kind": "delay", "value": seconds}
        with httpx.Client(trust_env=False) as http:
            http.post(url, json={"rules": [rule]}).raise_for_status()
            yield
            http.delete(url).raise_for_status()


@pytest.fixture(scope="module")
def shell(first_run: Run, tmp_path_factory: pytest.TempPathFactory) -> Shell:
    return Shell(first_run.ready(), tmp_path_factory.mktemp("home"))


@pytest.fixture
def calls(tmp_path: Path) -> Path:
    """A folder of short silences, no two alike, and two files that are none."""
    folder = tmp_path / "calls"
    (folder / "deep").mkdir(parents=True)
    for number in range(CALLS):
        place = folder / "deep" if number % 2 else folder
        write_silence(place / f"call-{number}.wav", frames=1600 + number)
    (folder / "notes.md").write_text("not audio by its name")
    (folder / ".hidden.wav").write_bytes(b"")
    return folder


def write_silence(path: Path, *, frames: int) -> None:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16000)
        file.writeframes(bytes(2 * frames))


def read_lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def test_a_stopped_command_goes_on_where_it_was_and_nothing_is_paid_for_twice(
    shell: Shell, calls: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    command = (calls, "--out", out, "--format", "json", "--parallel", "1", "--json")
    before = shell.calls()
    with shell.slowed_down(0.5):
        stopped = shell.start(*command)
        assert stopped.stdout
        first = [stopped.stdout.readline() for _ in range(3)]
        stopped.send_signal(signal.SIGINT)
        rest, said = stopped.communicate(timeout=30)
    told = read_lines("".join(first) + rest)
    code, again, _ = shell.run(*command)

    assert stopped.returncode == 130
    assert "Run the same command to resume." in said
    assert told[-1]["type"] == "summary"
    assert 3 <= told[-1]["submitted"] < CALLS
    ended = read_lines(again)
    assert code == 0
    assert ended[-1] == {
        "type": "summary",
        "total": CALLS,
        "submitted": CALLS,
        # The one that was on its way then may be known to the platform alone.
        "resumed": pytest.approx(told[-1]["submitted"], abs=1),
        "completed": CALLS,
        "failed": 0,
    }
    assert Counter(line["type"] for line in ended) == {
        "submitted": CALLS,
        "completed": CALLS,
        "summary": 1,
    }
    assert shell.calls() - before == CALLS
    written = sorted(str(p.relative_to(out)) for p in out.rglob("*") if p.is_file())
    assert written == sorted(
        f"{'deep/' * (number % 2)}call-{number}.json" for number in range(CALLS)
    )
    assert json.loads((out / "call-0.json").read_text())["object"] == "transcript"


def test_one_bad_file_does_not_stop_the_others_and_json_says_what_became_of_each(
    shell: Shell, tmp_path: Path
) -> None:
    bad = tmp_path / "bad.wav"
    bad.write_bytes(b"this is no audio")

    code, out, err = shell.run(TRAIN, bad, "--json", "-o", "tag=golden")

    lines = {line.pop("type"): line for line in read_lines(out)}
    job_id = lines["completed"]["job_id"]
    assert (code, err) == (1, "")
    assert lines == {
        "submitted": {"source": str(TRAIN), "job_id": job_id, "resumed": False},
        "failed": {
            "source": str(bad),
            "job_id": None,
            "error": {
                "code": "audio_unreadable",
                "detail": probe.MESSAGES["audio_unreadable"],
            },
        },
        "completed": {
            "source": str(TRAIN),
            "job_id": job_id,
            "duration_seconds": 4.716,  # of the transcript
            "warnings": [],
            "files": [],
            "transcript": lines["completed"]["transcript"],
        },
        "summary": {
            "total": 2,
            "submitted": 1,
            "resumed": 0,
            "completed": 1,
            "failed": 1,
        },
    }
    assert "platform seven" in lines["completed"]["transcript"]
    code, shown, _ = shell.run("jobs", "show", job_id, "--json")
    assert (code, json.loads(shown)["options"]["tag"]) == (0, ["golden"])


def test_what_is_heard_through_a_pipe_is_written_and_found_again(
    shell: Shell,
) -> None:
    search = ("search", '"new bridge"', "--json")
    before = read_lines(shell.run(*search)[1])
    with wave.open(str(corpus.FOLDER / "council.wav")) as file:
        heard = file.readframes(file.getnframes())
    listening = subprocess.run(
        (sys.executable, "-m", "transcribe_platform.cli", "listen"),
        env=shell.environment,
        input=heard,
        capture_output=True,
        timeout=60,
        check=False,
    )

    code, found, _ = shell.run(*search)

    assert (listening.returncode, listening.stderr) == (0, b"")
    said = listening.stdout.decode().splitlines()
    assert "build a new bridge across the river." in " ".join(said)
    assert "\x1b" not in listening.stdout.decode()
    (hit,) = [each for each in read_lines(found) if each not in before]
    assert (code, hit["mode"]) == (0, "live")


@pytest.mark.parametrize(
    ("words", "settings", "code", "said"),
    [
        ([str(TRAIN), "-o", "modle=x"], {}, 2, "Did you mean 'model'?"),
        (["jobs", "list"], {"TRANSCRIBE_API_KEY": "wrong"}, 3, "key_malformed"),
        (["jobs", "show", "0" * 32], {}, 4, "not_found"),
    ],
)
def test_what_is_wrong_has_a_number_and_says_what_to_do(
    shell: Shell, words: list[str], settings: dict[str, str], code: int, said: str
) -> None:
    ended, out, err = shell.run(*words, **settings)

    assert (ended, out) == (code, "")
    assert said in err
    assert "Traceback" not in err
