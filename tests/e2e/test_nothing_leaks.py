"""A whole run of the real processes, and then a search of all that they wrote.

At DEBUG, which says the most. Not searched: what `run_platform` prints to its operator
(key and secrets, on purpose), and the rows and objects that hold the content.
"""

import json
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
import redis

from tests.support.platform_run import Run
from tests.support.span_collector import collecting
from tests.support.webhook_receiver import Receiver, Reply, listening
from workers.demo import corpus
from workers.embedded.binaries import scratch_folder
from workers.embedded.processes import wait_until

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.slow,
    pytest.mark.timeout(240),
    pytest.mark.xdist_group("nothing_leaks"),  # one run for all of them
]

SPEECH = (corpus.FOLDER / "train.mp3").read_bytes()
# What customers send, and receivers answer, that no log and no message may hold.
SENT = (
    "hush-audio-query",
    "hush-hook-query",
    "hush-bad-key",
    "hush-metadata",
    "hush-keyterm",
    "hush-answer",
    "hush-no-audio",
    "hush-parameter",
    "hush-fragment",
)
# As a bug of ours would: PostgreSQL refuses rows, and says what is in them.
BREAK = (
    "ALTER TABLE jobs_job ADD CHECK (filename <> 'broken.mp3') NOT VALID",
    "ALTER TABLE transcripts_transcript ADD CHECK (words < 0) NOT VALID",
)


@dataclass(slots=True, kw_only=True)
class Evidence:
    """What a run left, and what must not be in it."""

    logs: dict[str, str] = field(default_factory=dict)
    wire: str = ""
    arguments: str = ""
    hidden: dict[str, str] = field(default_factory=dict)

    def leaks(self, place: str, written: str) -> list[str]:
        return [
            f"{name} in {place}"
            for name, secret in self.hidden.items()
            if secret in written
        ]


class Wire:
    """All that goes over Redis, by its own MONITOR."""

    def __init__(self, url: str) -> None:
        self.heard: list[str] = []
        self._client = redis.Redis.from_url(url)
        self._thread = threading.Thread(target=self._listen)
        self._thread.start()

    def _listen(self) -> None:
        ended = suppress(redis.RedisError)  # with its server: that was all
        with self._client, self._client.monitor() as monitor, ended:
            for each in monitor.listen():
                self.heard.append(each["command"])

    def stop(self) -> str:
        self._thread.join(20)
        assert not self._thread.is_alive()
        return "\n".join(self.heard)


class Customer:
    """Sends what has a secret in it, well and badly."""

    def __init__(self, web: str, key: str, site: Receiver, hooks: Receiver) -> None:
        self.http = httpx.Client(
            base_url=web,
            headers={"authorization": f"Bearer {key}"},
            timeout=20,
            trust_env=False,
        )
        self.audio_url = f"http://{site.host}:{site.port}/a.mp3?sig=hush-audio-query"
        self.asked = {
            "metadata": {"name": "hush-metadata"},
            "options": {"keyterm": ["hush-keyterm"]},
            "callback_url": f"{hooks.url}?token=hush-hook-query",
        }

    def submit(self, file_name: str = "") -> httpx.Response:
        """Submit by upload, or without a file name by URL."""
        if not file_name:
            asked = {**self.asked, "audio_url": self.audio_url}
            return self.http.post("/v1/jobs", json=asked)
        texts = {
            name: value if isinstance(value, str) else json.dumps(value)
            for name, value in self.asked.items()
        }
        file = {"file": (file_name, SPEECH)}
        return self.http.post("/v1/jobs", data=texts, files=file)

    def end_of(self, answer: httpx.Response) -> dict[str, Any]:
        """Return the job that was accepted, once it has ended."""
        path = answer.headers["location"]
        end = time.monotonic() + 60
        while time.monotonic() < end:
            shown: dict[str, Any] = self.http.get(path).json()
            if shown["finished_at"]:
                return shown
            time.sleep(0.1)
        raise AssertionError(shown)

    def misbehave(self) -> list[int]:
        """Send what is refused, each with a secret in it; return the statuses."""
        bad = {"authorization": "Bearer tp_live_hushhush_hush-bad-key"}
        basic = {"authorization": "Basic hush-bad-key"}
        get, post = self.http.get, self.http.post
        no_audio = {"file": ("hush-no-audio.wav", b"hush-no-audio")}
        as_json = {"content-type": "application/json"}
        answers = [
            get("/v1/jobs?hush-parameter=1", headers=bad),
            get("/v1/me", headers=basic),
            get("/nowhere?hush-parameter=1"),
            get("/v1/jobs?hush-parameter=hush-parameter"),
            post("/v1/jobs", json={"audio_url": "http://10.0.0.1/?hush-audio-query"}),
            post("/v1/jobs", json={"audio_url": "https://a.example/#hush-fragment"}),
            post("/v1/jobs", json={"metadata": {"a": ["hush-metadata"]}}),
            post("/v1/jobs", content=b'{"a": "hush-metadata', headers=as_json),
            post("/v1/jobs", files=no_audio),
        ]
        return [answer.status_code for answer in answers]

    def read(self, job: str) -> tuple[str, str]:
        """Read a transcript by key and by link; return its text and the signature."""
        path = f"/v1/transcripts/{job}"
        link = self.http.post(f"{path}/links", json={"format": "text"}).json()["url"]
        text = self.http.get(f"{path}?format=text").text
        assert httpx.get(link, trust_env=False).text == text
        assert httpx.get(link + "0", trust_env=False).status_code == 403
        return text, link.partition("signature=")[2]


@pytest.fixture(scope="module")
def evidence() -> Iterator[Evidence]:
    folder = scratch_folder("transcribe-leaks-")
    found = Evidence()
    with ExitStack() as stack:
        speech = Reply(body=SPEECH, headers={"content-type": "audio/mpeg"})
        echo = b"hush-answer"
        site, gone, hooks = (
            stack.enter_context(listening(reply))
            for reply in (speech, Reply(status=404, body=echo), Reply(body=echo))
        )
        collector = stack.enter_context(collecting())
        hooks.replies.insert(0, Reply(status=500, body=echo))
        ours = ",".join(f"{each.host}:{each.port}" for each in (site, gone, hooks))
        run = Run(
            folder / "data",
            LOG_LEVEL="DEBUG",
            LOG_FORMAT="json",
            OTEL_EXPORTER_OTLP_ENDPOINT=collector.url,
            EGRESS_ALLOW=ours,
            WEBHOOK_ALLOW_HTTP="1",
            BACKOFF_BASE_SECONDS="0.1",
            WEBHOOK_SCHEDULE_SECONDS="1,1,1",
        )
        try:
            wire = exercise(run, found, site=site, gone=gone, hooks=hooks)
        finally:
            run.process.terminate()
            run.process.wait(60)
        found.wire = wire.stop()
    for log in (folder / "data" / "log").iterdir():
        found.logs[log.name] = log.read_text(errors="replace")
    spans = b"".join(collector.bodies).decode(errors="replace")
    assert "webhook" in spans
    found.logs["spans"] = spans
    found.hidden |= json.loads((folder / "data" / "secrets.json").read_text())
    found.hidden |= {word: word for word in SENT}
    yield found
    subprocess.run(["rm", "-rf", str(folder)], check=True)


def exercise(
    run: Run, found: Evidence, *, site: Receiver, gone: Receiver, hooks: Receiver
) -> Wire:
    """Do everything once; note the secrets that come to be on the way."""
    ready = run.ready()
    wire = Wire(ready["redis_url"])
    door = (ready["web"], ready["api_key"])
    customer, unlucky = Customer(*door, site, hooks), Customer(*door, gone, hooks)
    with customer.http, unlucky.http:
        assert customer.misbehave() == [401, 401, 404, 400, 400, 400, 400, 400, 422]
        answers = [customer.submit("train.mp3"), customer.submit(), unlucky.submit()]
        ends = [customer.end_of(answer) for answer in answers]
        assert [job["status"] for job in ends] == ["completed", "completed", "failed"]
        text, signature = customer.read(ends[0]["id"])
        hooks.wait_for(4)  # one of them twice
        erased = customer.http.delete(f"/v1/jobs/{ends[1]['id']}")
        assert erased.json()["erased"]["transcripts"] == 1
        break_things(run, customer, ready["database_url"])
    found.arguments = "\n".join(
        Path(f"/proc/{pid}/cmdline").read_text() for pid in run.members()
    )
    found.hidden |= {
        "the link's signature": signature,
        "the webhook secret": ready["webhook_secret"].removeprefix("whsec_"),
        "the database's password": _password(ready["database_url"]),
        "Redis's password": _password(ready["redis_url"]),
        **{f"the transcript: {words}": words for words in threes(text)},
    }
    return wire


def break_things(run: Run, customer: Customer, database_url: str) -> None:
    """Have the web process and a worker fail in the middle of a statement."""
    with psycopg.connect(database_url, autocommit=True) as server:
        for statement in BREAK:
            server.execute(statement)
    assert customer.submit("broken.mp3").status_code == 500
    customer.submit()
    worker = run.folder / "log" / "worker.log"
    assert wait_until(
        lambda: "transcripts_transcript" in worker.read_text(), seconds=60
    )


def threes(text: str) -> list[str]:
    """Return every three words in a row."""
    words = text.split()
    assert len(words) > 5
    return [" ".join(words[n : n + 3]) for n in range(len(words) - 2)]


def _password(url: str) -> str:
    return str(httpx.URL(url).password)


def test_the_run_wrote_what_there_is_to_search(evidence: Evidence) -> None:
    ours = {"web.log", "worker.log", "webhooks.log", "dispatcher.log", "beat.log"}
    assert ours | {"postgres.log", "flower.log", "emulator.log"} <= set(evidence.logs)
    assert '"level": "DEBUG"' in evidence.logs["worker.log"]
    assert "IntegrityError" in evidence.logs["web.log"]
    assert "IntegrityError" in evidence.logs["worker.log"]
    assert "workers.transcribe" in evidence.wire
    assert "webhooks.deliver" in evidence.wire
    assert len(evidence.hidden) > 20


def test_no_log_holds_a_secret_or_a_transcript(evidence: Evidence) -> None:
    leaks = [
        leak
        for name, log in evidence.logs.items()
        for leak in evidence.leaks(name, log)
    ]

    assert leaks == []


def test_no_message_holds_a_secret_or_a_transcript(evidence: Evidence) -> None:
    del evidence.hidden["Redis's password"]  # clients say it to Redis itself

    assert evidence.leaks("Redis", evidence.wire) == []


def test_no_command_line_holds_a_secret(evidence: Evidence) -> None:
    assert "run_dispatcher" in evidence.arguments
    assert evidence.leaks("arguments", evidence.arguments) == []
