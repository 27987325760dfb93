"""One tenant's slow searches and reports leave connections to all others."""

from contextlib import ExitStack

import pytest

from jobs.concurrency import statement_limits, thread_limits
from jobs.concurrency.fair_semaphore import FairSemaphore
from tests.support.api import Api, assert_problem

pytestmark = pytest.mark.django_db
PATHS = ["/v1/transcripts", "/v1/transcripts?q=refund", "/v1/usage"]


@pytest.fixture
def busy(monkeypatch):
    """Give a tenant that has as many slow statements as it may have."""
    monkeypatch.setattr(statement_limits, "WAIT_SECONDS", 0)
    api = Api()
    with ExitStack() as stack:
        for _ in range(statement_limits.SLOW_AT_ONCE - 1):
            slot = statement_limits.slow_statement_slot(api.tenant.pk)
            stack.enter_context(slot)
        yield api


@pytest.mark.parametrize("path", PATHS)
def test_a_tenant_has_few_slow_statements_at_once(busy, path):
    answer = busy.get(path)

    assert_problem(answer, 503, "service_unavailable")
    assert answer.headers["Retry-After"]


@pytest.mark.parametrize("path", PATHS)
def test_another_tenant_does_not_wait_for_them(busy, path):
    assert Api().get(path).status_code == 200
    assert busy.get("/v1/me").status_code == 200


def test_who_may_not_wait_is_answered_at_once(busy, monkeypatch):
    monkeypatch.setattr(statement_limits, "WAIT_SECONDS", 60)
    monkeypatch.setattr(thread_limits, "waiting_requests", lambda: FairSemaphore(0))

    assert_problem(busy.get("/v1/usage"), 503, "service_unavailable")
