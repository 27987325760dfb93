"""The harness of the benches works; no figure is judged here."""

import pytest
from django.db import connection

from jobs.models import Job
from tests.bench import claim, live, rows
from tests.streams import Heard, make_speech

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

    assert row.cells() == ("claim", "ratio", "3 ms", "", "1.20 ≤ 1.5", "yes")
    assert rows.format_markdown([row]).splitlines()[-1] == (
        "| claim | ratio | 3 ms |  | 1.20 ≤ 1.5 | yes |"
    )


def test_the_live_bench_sees_what_is_late_and_what_is_missing(monkeypatch):
    audio = make_speech(1.0, seed=1)
    ours, direct = Heard(audio, reason="client_closed"), Heard(audio)
    for heard, at in ((ours, 5.02), (direct, 5.0)):
        heard.results[(True, 0.0, 1.0)] = at
    direct.results[(False, 1.0, 2.0)] = 6.0

    late, missing = live.judge_pairs([(ours, direct)])

    assert (late.ours, late.held) == ("20.0 ms (20.0)", False)
    assert (missing.ours, missing.held) == ("1 of 2", False)
    assert live.count_whole([ours]) == 0
    ours.words = [("one", 0.0, 0.5), ("two", 0.5, 1.0)]
    monkeypatch.setattr(live, "read_stored", lambda _job: ours.words[:1])
    closed, lost, _ = live.judge_broken([ours, direct])
    assert (closed.held, lost.ours, lost.held) == (False, "1 of 2", False)
