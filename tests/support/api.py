"""A customer of the API, and what its tests look at."""

import json
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.files.uploadedfile import SimpleUploadedFile
from django.http import HttpResponse
from django.test import Client

from jobs.models import Event, IdempotencyKey, Job
from tests.support.factories import make_key, make_tenant, make_wav
from transcribe_platform.api_errors.problem_table import PROBLEMS


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

    def send(self, method: str, path: str, body: Any = b"", **headers: str) -> Any:
        """Send any request, as `send` does."""
        return send(
            self.client, method, path, key=self.text, body=body, headers=headers
        )

    def upload(
        self,
        audio: bytes = b"",
        *,
        name: str = "a.wav",
        kind: str = "audio/wav",
        path: str = "/v1/jobs",
        headers: dict[str, str] | None = None,
        **fields: Any,
    ) -> HttpResponse:
        """Upload a file with form fields; without audio, a short tone."""
        file = SimpleUploadedFile(name, audio or make_wav(), content_type=kind)
        form = {"file": file, **fields}
        return self.client.post(path, form, headers=self.headers(headers))

    def delete(self, path: str) -> HttpResponse:
        return self.client.delete(path, headers=self.headers())

    def form(
        self, fields: dict[str, Any], headers: dict[str, str] | None = None
    ) -> HttpResponse:
        return self.client.post("/v1/jobs", fields, headers=self.headers(headers))


def files_in(media: Path) -> list[str]:
    return [str(p.relative_to(media)) for p in media.rglob("*") if p.is_file()]


def assert_nothing_written(media: Path) -> None:
    assert Job.objects.count() == 0
    assert Event.objects.count() == 0
    assert IdempotencyKey.objects.count() == 0
    assert files_in(media) == []


def accepted_job(response: HttpResponse) -> Job:
    """Return the job that a 202 names."""
    assert response.status_code == 202, response.content
    return Job.objects.get(pk=response.json()["id"])


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


def send(
    client: Any,
    method: str,
    path: str,
    *,
    key: str = "",
    body: Any = b"",
    headers: dict[str, str] | None = None,
    content_type: str = "application/json",
) -> Any:
    """Send any request; bytes go as they are, other bodies as JSON."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    given = {"Authorization": f"Bearer {key}"} if key else {}
    return client.generic(
        method,
        path,
        data,
        content_type=content_type,
        headers={**given, **(headers or {})},
    )


def send_as(key: str, method: str, path: str, body: Any = b"") -> Any:
    """Send a request with a key, on a connection of its own."""
    return send(Client(), method, path, key=key, body=body)
