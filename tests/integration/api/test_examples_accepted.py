"""Every example of a request in the OpenAPI document is accepted by the server."""

import gzip
import json
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.utils import timezone

from jobs.models import Batch, Job
from jobs.state import JobStatus
from tests.support import foreign_tenant
from tests.support.factories import make_wav, move_job
from workers.api.transcribe import runner

DOCUMENT = json.loads(Client().get("/v1/openapi.json").content)
FORM = "multipart/form-data"
CSV = b"audio_url\nhttps://audio.example.com/calls/4711.wav\n"
EXAMPLES = [
    pytest.param(
        method,
        path,
        kind,
        example["value"],
        id=f"{operation['operationId']} {kind} {name}",
    )
    for path, methods in DOCUMENT["paths"].items()
    for method, operation in methods.items()
    for kind, content in operation.get("requestBody", {}).get("content", {}).items()
    for name, example in content["examples"].items()
]


class BusyRunner:
    """Queues each synchronous job, as a process does that has no permit."""

    @staticmethod
    def run(job: Job, *, seconds: float) -> None:
        runner.release_to_queue(job)


@pytest.fixture
def ids(api, monkeypatch) -> dict[str, Any]:
    """Make one of everything, in the states that the operations need."""
    made = foreign_tenant.make_all(api.tenant)
    monkeypatch.setattr(runner, "get_runner", lambda: BusyRunner)
    return made


@pytest.mark.parametrize(("method", "path", "kind", "value"), EXAMPLES)
def test_an_example_is_accepted(api, ids, method, path, kind, value):
    if path.endswith("/retry"):
        (job,) = Job.objects.filter(batch=ids["batch_id"])
        move_job(job, JobStatus.FAILED, error_code="audio_unreadable")
        Batch.objects.filter(pk=ids["batch_id"]).update(
            failed=1, finished_at=timezone.now()
        )

    answer = send(api, method, path.format(**ids), kind, value)

    assert answer.status_code < 300, b"".join(answer)


def send(api, method, path, kind, value):
    call = getattr(api.client, method)
    if kind == FORM:
        content = CSV if "batches" in path else make_wav()
        name = "a.csv" if "batches" in path else "a.wav"
        fields = {
            key: json.dumps(each) if isinstance(each, dict | list) else each
            for key, each in value.items()
        }
        file = SimpleUploadedFile(name, content, "application/octet-stream")
        return call(path, {**fields, "file": file}, headers=api.headers())
    if kind == "application/json":
        body = json.dumps(value).encode()
    else:
        body = gzip.compress(CSV) if value == "(bytes)" else value.encode()
    return call(path, body, content_type=kind, headers=api.headers())
