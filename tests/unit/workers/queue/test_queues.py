"""The queues of a worker, as Celery's `inspect active_queues` shows them."""

from types import SimpleNamespace

import pytest

from transcribe_platform.celery import app
from workers.liveness.process_rows import PROCESS_NAME
from workers.queue.process_queue import consume_own_queue


@pytest.fixture
def queues(monkeypatch):
    fresh = app.amqp.Queues(app.conf.task_queues)
    monkeypatch.setattr(app.amqp, "_queues", None, raising=False)
    monkeypatch.setitem(app.amqp.__dict__, "queues", fresh)
    return fresh


def test_each_queue_has_its_own_exchange_and_routing_key(queues):
    queues.select(["transcribe.eu", "webhooks", "housekeeping"])
    consume_own_queue(SimpleNamespace(app=app))

    shown = {
        queue.name: (queue.exchange.name, queue.routing_key)
        for queue in queues.consume_from.values()
    }

    own = f"process.{PROCESS_NAME}"
    assert shown == {
        "transcribe.eu": ("transcribe.eu", "transcribe.eu"),
        "webhooks": ("webhooks", "webhooks"),
        "housekeeping": ("housekeeping", "housekeeping"),
        # The default exchange: a named one would leave a binding in Redis.
        own: ("", own),
    }
