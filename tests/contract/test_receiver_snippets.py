"""The receivers in docs/webhooks.md, run as they stand there, against our signatures."""

import inspect
import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.support import ROOT
from workers.embedded.processes import free_port, wait_until
from workers.webhooks.delivery import transport
from workers.webhooks.messages import signing

PAGE = ROOT / "docs" / "webhooks.md"
SECRET, OTHER, THIRD = (signing.new_secret() for _ in range(3))
BODY = '{"id":"msg_1","type":"job.completed","data":{"id":"üß1"}}'.encode()


def snippet(language: str) -> str:
    """Return the one block of the page in this language."""
    (found,) = re.findall(rf"^```{language}\n(.*?)^```$", PAGE.read_text(), re.M | re.S)
    return found


def build(language: str, folder: Path) -> tuple[str | Path, ...]:
    """Write the snippet to a file; return the command that runs it."""
    endings = {"python": "py", "javascript": "js", "go": "go", "bash": "sh"}
    file = folder / f"receiver.{endings[language]}"
    file.write_text(snippet(language))
    if language == "python":
        return (sys.executable, file)
    tools = {"javascript": ("node",), "go": ("go",), "bash": ("bash", "openssl", "od")}
    for tool in tools[language]:
        if not shutil.which(tool):
            pytest.skip(f"the {language} receiver is NOT tested: there is no {tool}")
    if language == "go":
        binary = folder / "receiver"
        subprocess.run(("go", "build", "-o", binary, file), check=True, cwd=folder)
        return (binary,)
    return (tools[language][0], file)


class Server:
    """A receiver that listens: the message goes there as all of ours do."""

    def __init__(self, port: int, output: Path) -> None:
        self._url = f"http://127.0.0.1:{port}/hook"
        self._output = output

    def takes(self, headers: dict[str, str], body: bytes) -> bool:
        answer = transport.post(self._url, headers=headers, body=body)
        assert answer.status_code in {204, 400}, answer
        return answer.status_code == 204

    def handled(self) -> list[str]:
        """Return what it printed; a line a message that it did something about."""
        return self._output.read_text().splitlines()


@contextmanager
def serving(command: tuple[str | Path, ...], folder: Path) -> Iterator[Server]:
    port = free_port()
    output = folder / "output"
    environment = {**os.environ, "WEBHOOK_SECRET": SECRET, "PORT": str(port)}
    with output.open("wb") as stdout:
        process = subprocess.Popen(command, env=environment, stdout=stdout)
    try:
        assert wait_until(lambda: is_listening(port), seconds=30)
        yield Server(port, output)
    finally:
        process.kill()
        process.wait()


def is_listening(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


class Script:
    """The bash snippet: headers as arguments, the body on its input."""

    def __init__(self, command: tuple[str | Path, ...]) -> None:
        self._command = command

    def takes(self, headers: dict[str, str], body: bytes) -> bool:
        names = ("webhook-id", "webhook-timestamp", "webhook-signature")
        done = subprocess.run(
            (*self._command, *(headers.get(name, "") for name in names)),
            input=body,
            env={**os.environ, "WEBHOOK_SECRET": SECRET},
            capture_output=True,
            check=False,
        )
        assert done.returncode in {0, 1}, done.stderr
        return done.returncode == 0


pytestmark = pytest.mark.xdist_group("receivers")


@pytest.fixture(scope="module", params=["python", "javascript", "go", "bash"])
def receiver(request, tmp_path_factory) -> Iterator[Server | Script]:
    folder = tmp_path_factory.mktemp(request.param)
    command = build(request.param, folder)
    if request.param == "bash":
        yield Script(command)
    else:
        with serving(command, folder) as server:
            yield server


@pytest.fixture(autouse=True)
def _loopback_is_listed(settings) -> Iterator[None]:
    settings.EGRESS_ALLOW = ["127.0.0.1"]
    yield
    transport.close()


def signed(*secrets: str, age: float = 0, name: str = "msg_1") -> dict[str, str]:
    at = datetime.now(UTC) - timedelta(seconds=age)
    return signing.sign(message_id=name, at=at, body=BODY, secrets=secrets or (SECRET,))


@pytest.mark.parametrize(
    "secrets",
    [(SECRET,), (SECRET, OTHER), (OTHER, SECRET), (OTHER, THIRD, SECRET)],
    ids=["one", "ours first", "ours second", "ours last"],
)
def test_a_genuine_message_is_taken_whichever_signature_is_ours(receiver, secrets):
    assert receiver.takes(signed(*secrets), BODY) is True


@pytest.mark.parametrize("age", [-290, 290])
def test_a_clock_may_be_five_minutes_off(receiver, age):
    assert receiver.takes(signed(age=age), BODY) is True


def test_another_timestamp_than_the_signed_one_is_refused(receiver):
    earlier = signed(age=7)["webhook-timestamp"]

    assert receiver.takes({**signed(), "webhook-timestamp": earlier}, BODY) is False


@pytest.mark.parametrize("age", [-310, 310, 10**6])
def test_an_old_message_and_one_of_the_future_are_refused(receiver, age):
    assert receiver.takes(signed(age=age), BODY) is False


@pytest.mark.parametrize(
    "body", [BODY + b" ", BODY[:-1], BODY.replace(b"job.completed", b"job.failed"), b""]
)
def test_a_tampered_body_is_refused(receiver, body):
    assert receiver.takes(signed(), body) is False


@pytest.mark.parametrize("secrets", [(OTHER,), (OTHER, THIRD)])
def test_other_secrets_are_refused(receiver, secrets):
    assert receiver.takes(signed(*secrets), BODY) is False


@pytest.mark.parametrize(
    "change",
    [
        {"webhook-id": "msg_2"},
        {"webhook-timestamp": "1795608000"},
        {"webhook-timestamp": ""},
        {"webhook-timestamp": "now"},
        {"webhook-timestamp": "-1"},
        {"webhook-timestamp": "9" * 30},
        {"webhook-timestamp": "0x1"},
        {"webhook-signature": ""},
        {"webhook-signature": "v1,"},
        {"webhook-signature": "v1 * , v2,abc"},
        {"webhook-signature": "v1," + "A" * 5000},
    ],
    ids=str,
)
def test_changed_headers_are_refused_and_break_nothing(receiver, change):
    assert receiver.takes({**signed(), **change}, BODY) is False
    assert receiver.takes(signed(), BODY) is True


def test_missing_headers_are_refused_and_break_nothing(receiver):
    assert receiver.takes({}, BODY) is False
    assert receiver.takes(signed(), BODY) is True


def test_a_message_that_comes_twice_is_handled_once(receiver):
    if isinstance(receiver, Script):
        pytest.skip("a check by hand handles nothing")
    before = len(receiver.handled())

    for _ in range(2):
        assert receiver.takes(signed(name="msg_twice"), BODY) is True
    assert receiver.takes(signed(name="msg_last"), BODY) is True

    wait_until(lambda: len(receiver.handled()) >= before + 2, seconds=10)
    assert receiver.handled()[before:] == ["job.completed üß1"] * 2


def test_the_page_tells_the_schedule_and_every_error_there_is(settings):
    page = PAGE.read_text()
    told = "5 s | 5 min | 30 min | 2 h | 5 h | 10 h | 14 h | 20 h | 24 h"
    seconds = {"s": 1, "min": 60, "h": 3600}
    named = re.findall(r'"([a-z]+_[a-z_]+)"', inspect.getsource(transport._name_error))

    parts = (each.split() for each in told.split(" | "))
    delays = [int(number) * seconds[unit] for number, unit in parts]
    assert delays == settings.WEBHOOK_SCHEDULE_SECONDS
    assert told in page
    assert len(named) >= 7
    assert [name for name in named if f"`{name}`" not in page] == []
