import json
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.http import HttpResponse
from django.test import Client

from jobs.models import Event, IdempotencyKey, Job
from tests.support.factories import make_key, make_tenant
from transcribe_platform.api_errors.problem_table import PROBLEMS


@pytest.fixture(autouse=True)
def media(tmp_path: Path, settings: Any) -> Path:
    """Give the test a storage of its own."""
    settings.MEDIA_ROOT = tmp_path / "media"
    settings.INCOMING_ROOT = settings.MEDIA_ROOT / "incoming"
    return settings.MEDIA_ROOT


class Api:
    """A customer with a key."""

    def __init__(self, tenant: Any = None) -> None:
        self.tenant = tenant or make_tenant()
        self.key, self.text = make_key(self.tenant)
        self.client = Client(raise_request_exception=False)

    @classmethod
    def of(cls, other: "Api") -> "Api":
        """Return the same customer with a connection of its own."""
        same = cls.__new__(cls)
        same.tenant, same.key, same.text = other.tenant, other.key, other.text
        same.client = Client(raise_request_exception=False)
        return same

    def headers(self, extra: dict[str, str] | None = None) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.text}", **(extra or {})}

    def get(self, path: str, headers: dict[str, str] | None = None) -> HttpResponse:
        return self.client.get(path, headers=self.headers(headers))

    def post(
        self,
        path: str,
        body: Any = None,
        headers: dict[str, str] | None = None,
        content_type: str = "application/json",
    ) -> HttpResponse:
        data = body if isinstance(body, bytes) else json.dumps(body or {}).encode()
        return self.client.post(
            path, data, content_type=content_type, headers=self.headers(headers)
        )

    def delete(self, path: str) -> HttpResponse:
        return self.client.delete(path, headers=self.headers())

    def form(
        self, fields: dict[str, Any], headers: dict[str, str] | None = None
    ) -> HttpResponse:
        return self.client.post("/v1/jobs", fields, headers=self.headers(headers))


@pytest.fixture
def api(db: None) -> Api:
    return Api()


def files_in(media: Path) -> list[str]:
    return [str(p.relative_to(media)) for p in media.rglob("*") if p.is_file()]


def assert_nothing_written(media: Path) -> None:
    assert Job.objects.count() == 0
    assert Event.objects.count() == 0
    assert IdempotencyKey.objects.count() == 0
    assert files_in(media) == []


def assert_problem(response: HttpResponse, status: int, code: str) -> dict[str, Any]:
    assert (response.status_code, response.headers["Content-Type"]) == (
        status,
        "application/problem+json",
    ), response.content
    problem = json.loads(response.content)
    assert problem["code"] == code
    assert problem["status"] == status
    assert problem["type"] == f"{settings.BASE_URL}/problems/{code}"
    assert problem["request_id"] == response.headers["X-Request-Id"]
    assert problem["detail"]
    assert PROBLEMS[code].status in {status, None}, "the table says another one"
    return problem
