"""The harness of the benches works; no figure is judged here."""

import math
import os
import socket
import threading
from contextlib import nullcontext

import pytest
import redis
from django.conf import settings
from django.db import connection

from jobs.models import Job
from tests.bench import __main__ as bench
from tests.bench import attacks, claim, live, neighbour, peers, rows, yardstick
from tests.fuzz import leftovers
from tests.support.live_streams import Heard, make_speech

pytestmark = pytest.mark.django_db


def test_the_claim_bench_fills_its_table_and_claims_what_can_run(monkeypatch):
    claim.fill(1_000)
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM jobs_job WHERE status = 'queued' AND ready"
        )
        (ready,) = cursor.fetchone()

    seconds = claim.claim_round()

    assert ready == 600
    assert seconds > 0
    assert Job.objects.filter(status="processing").count() == 0


def test_a_row_says_by_what_it_is_judged_and_whether_it_held():
    row = rows.Row(bench="claim", figure="ratio", ours="3 ms", **rows.at_most(1.2, 1.5))

    assert row.cells() == ("claim", "ratio", "3 ms", "", "", "1.20 ≤ 1.5", "yes")
    assert rows.format_markdown([row]).splitlines()[-1] == (
        "| claim | ratio | 3 ms |  |  | 1.20 ≤ 1.5 | yes |"
    )


@pytest.mark.parametrize(("limit", "all_held"), [(1.0, False), (2.0, True)])
def test_a_run_fails_if_a_target_is_missed(monkeypatch, limit, all_held):
    row = rows.Row(bench="claim", figure="x", ours="", **rows.at_most(1.5, limit))
    monkeypatch.setattr(bench.stages, "set_up", nullcontext)
    monkeypatch.setattr(bench, "run_one", lambda *_: [row])

    assert bench.main(["claim"], write=False) is all_held


def test_the_parts_that_can_be_run_alone_are_those_of_the_comparison():
    assert tuple(peers.PARTS) == bench.PARTS


def test_the_yardstick_doubles_on_a_machine_of_half_the_speed(monkeypatch):
    seconds = {yardstick._loop: 0.1, yardstick._query: 0.05}
    monkeypatch.setattr(yardstick, "_time", seconds.__getitem__)

    assert yardstick.measure() == pytest.approx(2.0)


def test_the_live_bench_sees_what_is_late_and_what_is_missing(monkeypatch):
    audio = make_speech(1.0, seed=1)
    ours, direct = Heard(audio, reason="client_closed"), Heard(audio)
    for heard, at in ((ours, 5.02), (direct, 5.0)):
        heard.results[(True, 0.0, 1.0)] = at
    direct.results[(False, 1.0, 2.0)] = 6.0

    late, missing = live.judge_pairs([(ours, direct)])

    assert (late.ours, late.is_met) == ("20.0 ms (20.0)", False)
    assert (missing.ours, missing.is_met) == ("1 of 2", False)
    assert live.count_whole([ours]) == 0
    ours.words = [("one", 0.0, 0.5), ("two", 0.5, 1.0)]
    monkeypatch.setattr(live, "read_stored", lambda _job: ours.words[:1])
    closed, lost, _ = live.judge_broken([ours, direct])
    assert (closed.is_met, lost.ours, lost.is_met) == (False, "1 of 2", False)


def test_the_neighbour_bench_judges_by_twice_the_usual_or_fifty_milliseconds_more():
    usual = {"fast": [0.010] * 100, "slow": [0.100] * 100}
    during = {"fast": [0.061] * 100, "slow": [0.199] * 100}

    fast, slow = neighbour.judge("an attack", "web", usual, during)
    refused = neighbour.judge("it", "live", usual, {**usual, "fast": [math.inf] * 9})

    assert (fast.ours, fast.is_met) == ("61 ms (10 alone)", False)
    assert (slow.ours, slow.is_met) == ("199 ms (100 alone)", True)
    assert [row.is_met for row in refused] == [False, True]


def test_each_attack_is_at_a_process_that_is_measured():
    assert {door for door, _ in attacks.ATTACKS.values()} == {"web", "live"}


def test_what_an_attack_leaves_is_seen(tmp_path, monkeypatch):
    monkeypatch.setattr(leftovers, "_POOLED_THREADS", 0)
    server = socket.create_server(("127.0.0.1", 0))
    port = server.getsockname()[1]
    watched = leftovers.Watched(
        servers={port: os.getpid()}, folders=(tmp_path,), redis_url=settings.REDIS_URL
    )
    before = watched.look()
    assert watched.wait_until_gone(before, seconds=0) == {}

    left, stop = tmp_path / "left", threading.Event()
    thread = threading.Thread(target=stop.wait)
    thread.start()
    with (
        socket.create_connection(("127.0.0.1", port)),
        server.accept()[0],
        left.open("w"),
        redis.Redis.from_url(settings.REDIS_URL) as client,
    ):
        client.zadd("permits:{a:stream}:held", {"1": 1})
        more = watched.wait_until_gone(before, seconds=0)
        client.delete("permits:{a:stream}:held")
    stop.set()
    thread.join()
    left.unlink()
    server.close()

    wanted = {"threads", "sockets", "open files", "files", "permits"}
    assert {kind for kind in wanted if more[kind] == 1} == wanted
    assert watched.wait_until_gone(before, seconds=5) == {}
