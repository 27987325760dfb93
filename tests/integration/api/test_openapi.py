import gzip
import json

import pytest
from django.test import Client
from jsonschema import Draft202012Validator
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012 as DRAFT

from tests.support.factories import make_job, make_transcript
from transcribe_platform.middleware.throttling import DOCUMENTS_PER_MINUTE

RAW = {
    "metadata": {"duration": 2.5},
    "results": {
        "channels": [
            {
                "alternatives": [
                    {
                        "transcript": "hello",
                        "confidence": 0.9,
                        "words": [
                            {"word": "hello", "start": 0, "end": 1, "confidence": 0.9}
                        ],
                    }
                ]
            }
        ]
    },
}


@pytest.fixture(scope="module")
def schema():
    answer = Client().get("/v1/openapi.json")
    assert answer.status_code == 200
    return json.loads(answer.content)


def test_it_lists_every_operation_by_name(schema):
    named = {
        operation["operationId"]
        for operations in schema["paths"].values()
        for operation in operations.values()
    }

    assert schema["openapi"].startswith("3.1")
    assert named >= {
        "submit_job",
        "list_jobs",
        "get_job",
        "list_attempts",
        "cancel_job",
        "retry_job",
        "get_transcript",
        "get_me",
    }


def test_every_operation_needs_a_bearer_key_and_documents_its_problems(schema):
    schemes = schema["components"]["securitySchemes"]
    assert schemes["ApiKey"]["type"], schemes["ApiKey"]["scheme"] == ("http", "bearer")
    for path, operations in schema["paths"].items():
        if not path.startswith(("/v1/jobs", "/v1/transcripts", "/v1/me")):
            continue
        for operation in operations.values():
            # A signed link opens a transcript without a key.
            is_linked = operation["operationId"] == "get_transcript"
            other = [{}] if is_linked else []
            assert operation["security"] == [{"ApiKey": []}, *other], path
            problem = operation["responses"]["401"]["content"]
            assert list(problem) == ["application/problem+json"], path


def test_a_submit_is_described_as_json_and_as_a_form(schema):
    submit = schema["paths"]["/v1/jobs"]["post"]

    assert set(submit["requestBody"]["content"]) == {
        "application/json",
        "multipart/form-data",
    }
    assert {"413", "415", "422"} <= set(submit["responses"])
    assert "Location" in submit["responses"]["202"]["headers"]


CASES = [
    ("get", "/v1/jobs/{job_id}", "queued", 200),
    ("get", "/v1/jobs/{job_id}", "failed", 200),
    ("get", "/v1/jobs", "processing", 200),
    ("get", "/v1/jobs/{job_id}/attempts", "processing", 200),
    ("post", "/v1/jobs/{job_id}/cancel", "queued", 200),
    ("post", "/v1/jobs/{job_id}/cancel", "failed", 409),
    ("post", "/v1/jobs/{job_id}/retry", "failed", 202),
    ("get", "/v1/transcripts/{job_id}", "completed", 200),
    ("get", "/v1/transcripts/{job_id}", "queued", 409),
    ("get", "/v1/me", "queued", 200),
]


@pytest.mark.parametrize(("method", "path", "state", "status"), CASES)
def test_answers_are_as_described(api, schema, method, path, state, status):
    job = make_job(api.tenant, status=state)
    if state == "completed":
        make_transcript(job, json.dumps(RAW).encode())

    answer = getattr(api, method)(path.format(job_id=job.pk))

    assert answer.status_code == status, answer.content
    described = schema["paths"][path][method]["responses"][str(status)]["content"]
    media_type = answer.headers["Content-Type"].partition(";")[0]
    registry = Registry().with_resource(
        "urn:api", Resource.from_contents(schema, default_specification=DRAFT)
    )
    reference = json.loads(
        json.dumps(described[media_type]["schema"]).replace("#/", "urn:api#/")
    )
    Draft202012Validator(reference, registry=registry).validate(
        json.loads(answer.content)
    )


def test_it_is_compressed_for_clients_that_accept_gzip(schema):
    answer = Client().get("/v1/openapi.json", headers={"Accept-Encoding": "br, gzip"})

    assert answer.headers["Content-Encoding"] == "gzip"
    assert answer.headers["Vary"] == "Accept-Encoding"
    assert len(answer.content) < 100_000
    assert json.loads(gzip.decompress(answer.content)) == schema


def test_an_address_loads_documents_a_limited_number_of_times_a_minute():
    here, elsewhere = "198.51.100.90", "198.51.100.91"

    def load(address):
        return Client(REMOTE_ADDR=address).get("/v1/openapi.json")

    answers = [load(here) for _ in range(DOCUMENTS_PER_MINUTE + 1)]

    assert {each.status_code for each in answers[:-1]} == {200}
    assert answers[-1].status_code == 429
    assert json.loads(answers[-1].content)["code"] == "rate_limited"
    assert 0 < int(answers[-1].headers["Retry-After"]) <= 60
    assert load(elsewhere).status_code == 200
