import threading
from concurrent.futures import ThreadPoolExecutor

from jobs.scheduling import dispatch


def test_wake_ups_during_one_are_published_together(monkeypatch):
    published, begun, may_end = [], threading.Event(), threading.Event()

    def publish(_command):
        published.append(threading.get_ident())
        begun.set()
        assert may_end.wait(timeout=10)

    monkeypatch.setattr(dispatch._redis, "call", publish)

    with ThreadPoolExecutor(6) as pool:
        first = pool.submit(dispatch.wake)
        assert begun.wait(timeout=10)
        others = [pool.submit(dispatch.wake) for _ in range(5)]
        for other in others:
            other.result(timeout=10)  # no one waits for the first
        may_end.set()
        first.result(timeout=10)

    assert len(published) == 2
    dispatch.wake()
    assert len(published) == 3


def test_one_thread_does_not_publish_for_others_without_end(monkeypatch):
    published = []

    def publish(_command):
        published.append(None)
        dispatch._wake_wanted.set()  # others call all the time

    monkeypatch.setattr(dispatch._redis, "call", publish)

    dispatch.wake()

    assert len(published) == 2
    dispatch._wake_wanted.clear()
