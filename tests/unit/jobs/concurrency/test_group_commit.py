"""Items of many threads are committed in groups, and one bad item fails alone."""

import threading
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
from django.db import DataError, OperationalError

from jobs.concurrency.group_commit import GroupCommitter


def build(commit, **options):
    return GroupCommitter(commit, grace=lambda: 5.0, **options)


class Recorder:
    """Records groups; the first commit waits until ``open`` is set."""

    def __init__(self):
        self.groups, self.open, self.first = [], threading.Event(), threading.Event()

    def commit(self, items, _now):
        self.groups.append(list(items))
        if len(self.groups) == 1:
            self.first.set()
            assert self.open.wait(10)


@pytest.fixture(autouse=True)
def _no_database(monkeypatch):
    class Closed:
        in_atomic_block = False

        def close(self):
            pass

    monkeypatch.setattr("jobs.concurrency.group_commit.connection", Closed())


def test_a_single_item_is_committed_alone_and_at_once():
    groups = []
    committer = build(lambda items, _now: groups.append(list(items)))

    committer.submit("a")
    committer.submit("b")

    assert groups == [["a"], ["b"]]


def test_items_that_arrive_during_a_commit_form_the_next_group():
    recorder = Recorder()
    committer = build(recorder.commit)
    with ThreadPoolExecutor(6) as threads:
        first = threads.submit(committer.submit, 0)
        assert recorder.first.wait(10)
        others = [threads.submit(committer.submit, n) for n in range(1, 6)]
        while len(committer._waiting) < 5:
            pass
        recorder.open.set()
        for each in (first, *others):
            each.result(10)

    assert recorder.groups[0] == [0]
    assert sorted(recorder.groups[1]) == [1, 2, 3, 4, 5]


def test_a_group_has_a_limited_size(monkeypatch):
    monkeypatch.setattr("jobs.concurrency.group_commit.MAX_GROUP", 2)
    recorder = Recorder()
    committer = build(recorder.commit)
    with ThreadPoolExecutor(6) as threads:
        futures = [threads.submit(committer.submit, 0)]
        assert recorder.first.wait(10)
        futures += [threads.submit(committer.submit, n) for n in range(1, 6)]
        while len(committer._waiting) < 5:
            pass
        recorder.open.set()
        for each in futures:
            each.result(10)

    assert [len(group) for group in recorder.groups] == [1, 2, 2, 1]


def test_refused_data_fails_its_own_item_only():
    committed, recorder = [], Recorder()

    def commit(items, now):
        recorder.commit(items, now)
        if "bad" in items:
            raise DataError
        committed.extend(items)

    committer = build(commit)
    with ThreadPoolExecutor(4) as threads:
        futures = {"first": threads.submit(committer.submit, "first")}
        assert recorder.first.wait(10)
        for name in ("a", "bad", "b"):
            futures[name] = threads.submit(committer.submit, name)
        while len(committer._waiting) < 3:
            pass
        recorder.open.set()
        for name in ("first", "a", "b"):
            futures[name].result(10)
        with pytest.raises(DataError):
            futures["bad"].result(10)

    assert sorted(committed) == ["a", "b", "first"]


def test_an_outage_is_retried_with_the_whole_group():
    tries = []

    def commit(items, _now):
        tries.append(list(items))
        if len(tries) < 3:
            raise OperationalError("deadlock detected")

    build(commit).submit("a")

    assert tries == [["a"]] * 3


def test_a_row_that_exceeds_a_limit_does_not_delay_the_others():
    committed, recorder = [], Recorder()

    def commit(items, now):
        recorder.commit(items, now)
        if "long" in items:
            raise OperationalError from psycopg.errors.ProgramLimitExceeded()
        committed.extend(items)

    committer = GroupCommitter(commit, grace=lambda: 3600.0)
    with ThreadPoolExecutor(4) as threads:
        first = threads.submit(committer.submit, "first")
        assert recorder.first.wait(10)
        futures = {
            name: threads.submit(committer.submit, name) for name in ("a", "long", "b")
        }
        while len(committer._waiting) < 3:
            pass
        recorder.open.set()
        for each in (first, futures["a"], futures["b"]):
            each.result(10)
        with pytest.raises(OperationalError):
            futures["long"].result(10)

    assert sorted(committed) == ["a", "b", "first"]


def test_an_outage_longer_than_the_grace_reaches_the_caller():
    def commit(_items, _now):
        raise OperationalError("the connection is closed")

    committer = GroupCommitter(commit, grace=lambda: 0.05)

    with pytest.raises(OperationalError):
        committer.submit("a")


def test_settled_is_called_for_committed_and_failed_items():
    settled = []

    def commit(items, _now):
        if items == ["bad"]:
            raise DataError

    committer = build(commit, settled=settled.extend)

    committer.submit("good")
    with pytest.raises(DataError):
        committer.submit("bad")

    assert settled == ["good", "bad"]
