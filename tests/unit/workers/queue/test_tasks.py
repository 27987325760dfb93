from types import SimpleNamespace

import pytest

from workers.queue import tasks


@pytest.mark.parametrize(("threads", "slots"), [(21, 20), (2, 1), (1, 1)])
def test_a_worker_keeps_a_thread_free_to_ask_the_broker(monkeypatch, threads, slots):
    announced = []
    monkeypatch.setattr(
        tasks,
        "Heartbeat",
        lambda **facts: SimpleNamespace(start=lambda: announced.append(facts)),
    )
    monkeypatch.setattr(tasks, "_heartbeats", [])
    monkeypatch.setattr(tasks.worker_checks, "begin", lambda *_, **__: None)
    queues = SimpleNamespace(
        consume_from={"webhooks": SimpleNamespace(name="webhooks")}
    )
    sender = SimpleNamespace(
        app=SimpleNamespace(amqp=SimpleNamespace(queues=queues)),
        controller=SimpleNamespace(concurrency=threads),
    )

    tasks.start_heartbeat(sender)

    assert [(each["queues"], each["slots"]) for each in announced] == [
        (["webhooks"], slots)
    ]
