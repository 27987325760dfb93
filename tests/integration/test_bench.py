"""The harness of the benches works; no figure is judged here."""

import pytest
from django.db import connection

from jobs.models import Job
from tests.bench import claim, rows

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
