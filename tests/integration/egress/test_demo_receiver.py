"""The demo's receiver is on loopback: it is listed, and the guard stays on."""

import json
import socket
from contextlib import contextmanager
from datetime import UTC, datetime

import pytest
from django.core.management import CommandError, call_command

from workers.embedded import run
from workers.embedded.supervisor import StopRequested
from workers.webhooks.delivery import transport
from workers.webhooks.messages import signing

SECRET = signing.new_secret()
BODY = json.dumps({"type": "job.completed", "data": {"id": "1"}}).encode()


def test_the_demo_lists_its_own_receiver_and_nothing_else(settings, monkeypatch):
    answers = {}

    @contextmanager
    def running(options, _view):
        told = options.settings["EGRESS_ALLOW"]
        settings.EGRESS_ALLOW = [told]
        headers = signing.sign(
            message_id="msg_1", at=datetime.now(UTC), body=BODY, secrets=[SECRET]
        )
        with socket.create_server(("127.0.0.1", 0)) as other:
            for host in (told, f"127.0.0.1:{other.getsockname()[1]}", "127.0.0.1"):
                url = f"http://{host}/hook"
                answer = transport.post(url, headers=headers, body=BODY)
                answers[host == told, host == "127.0.0.1"] = answer
        assert set(options.settings) == {"EGRESS_ALLOW", "BACKOFF_BASE_SECONDS"}
        raise StopRequested
        yield

    monkeypatch.setattr(run, "running", running)
    with pytest.raises(CommandError, match="stopped"):
        call_command("run_demo")

    reached = answers.pop((True, False))
    # The demo does not know the secret yet: it is there, and it checks.
    assert reached.status_code == 401
    assert len(answers) == 2
    refused = transport.PostResult(error="destination_not_allowed")
    assert set(answers.values()) == {refused}
