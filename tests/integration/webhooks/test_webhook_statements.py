"""What a delivery costs the database, so that nothing is added without being seen."""

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from workers.webhooks.delivery.schedule import PostResult
from workers.webhooks.messages import secrets


@pytest.mark.parametrize(
    ("status", "statements"),
    [(200, ["SELECT", "WITH"]), (500, ["SELECT", "WITH", "UPDATE"])],
    ids=["delivered", "failed"],
)  # fmt: skip
def test_an_attempt_takes_two_statements_and_a_failed_one_three(
    world, status, statements
):
    world.delivery("https://hooks.example/")
    secrets.get_or_create_tenant_secret(world.tenant)
    (claim,) = world.claim()

    with CaptureQueriesContext(connection) as captured:
        world.attempt(claim, post=lambda *_a, **_o: PostResult(status_code=status))

    verbs = [each["sql"].split(maxsplit=1)[0] for each in captured]
    assert [v for v in verbs if v not in {"SAVEPOINT", "RELEASE"}] == statements
