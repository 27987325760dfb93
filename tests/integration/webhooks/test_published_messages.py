"""What is sent is what the OpenAPI document says is sent."""

import copy
import json
from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone
from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012 as DRAFT

from jobs import services
from jobs.accounts.caller import Caller
from jobs.batches.records import BatchDraft
from jobs.models import Job
from jobs.rest.openapi import read_examples
from jobs.services import JobDraft
from jobs.state import FINAL, JobStatus
from tests.support.batches import submit_batch
from tests.support.factories import move_job
from workers.webhooks import endpoints
from workers.webhooks.delivery import fan_out
from workers.webhooks.messages import payloads, published
from workers.webhooks.messages.payloads import EventType


@pytest.fixture(scope="module")
def document():
    return json.loads(Client().get("/v1/openapi.json").content)


@pytest.fixture(scope="module")
def check(document):
    """Validate a body as the document describes messages of its type."""
    registry = Registry().with_resource(
        "urn:api", Resource.from_contents(document, default_specification=DRAFT)
    )

    def validate(body):
        content = document["webhooks"][body["type"]]["post"]["requestBody"]["content"]
        schema = json.dumps(content["application/json"]["schema"])
        Draft202012Validator(
            json.loads(schema.replace("#/", "urn:api#/")),
            registry=registry,
            format_checker=Draft202012Validator.FORMAT_CHECKER,
        ).validate(body)

    return validate


def test_every_type_is_published_with_an_example_and_its_headers(document, check):
    assert set(document["webhooks"]) == set(EventType)
    for webhook in document["webhooks"].values():
        (example,) = webhook["post"]["requestBody"]["content"]["application/json"][
            "examples"
        ].values()
        check(example["value"])
        assert [each["name"] for each in webhook["post"]["parameters"]] == [
            "webhook-id",
            "webhook-timestamp",
            "webhook-signature",
        ]


def build_example(type_):
    (example,) = read_examples(published.__file__, type_)
    return copy.deepcopy(example.value)


@pytest.mark.parametrize("type_", EventType)
def test_a_message_that_lacks_anything_does_not_pass(check, type_):
    for part in ("id", "type", "timestamp", "api_version", "data"):
        body = build_example(type_)
        del body[part]
        with pytest.raises((ValidationError, KeyError)):
            check(body)
    for part in build_example(type_)["data"]:
        body = build_example(type_)
        del body["data"][part]
        with pytest.raises(ValidationError):
            check(body)


def test_every_way_that_a_job_ends_is_a_type(document):
    assert {f"job.{status}" for status in FINAL} <= set(document["webhooks"])


def sent(world, receiver):
    """Fan out, deliver, and return the bodies by type."""
    while fan_out.fan_out(limit=100, now=world.now):
        pass
    while world.run():
        pass
    bodies = [json.loads(request.body) for request in receiver.received]
    return {body["type"]: body for body in bodies}


@pytest.mark.parametrize("payload", ["full", "thin"])
def test_whatever_arrives_is_as_published(world, listen, check, payload):
    world.now = timezone.now() + timedelta(minutes=1)
    receiver = listen()
    endpoint = world.endpoint(receiver.url, payload=payload)
    make_batch(world)
    first, *others = Job.objects.order_by("id")
    services.cancel_job(job=first, now=world.now, actor="")
    found = sent(world, receiver)
    for job in others:
        move_job(job, JobStatus.EXPIRED)
    world.event(world.job())
    failed = {"status": "failed", "error_code": "x", "error_detail": "y"}
    world.event(world.job(**failed), type="job.failed")
    ping(world, endpoint)

    found |= sent(world, receiver)

    assert set(found) == set(EventType)
    for body in found.values():
        check(body)
    result = found["job.completed"]["data"]["result"]
    assert (result is None) == (payload == "thin")


def test_a_result_that_is_too_large_is_as_published(world, listen, check):
    receiver = listen()
    world.endpoint(receiver.url)
    world.event(world.job("x" * payloads.MAX_RESULT_BYTES))

    body = sent(world, receiver)["job.completed"]

    check(body)
    assert body["data"]["result_omitted"] == "too_large"


def make_batch(world):
    drafts = [
        JobDraft(audio_url="https://audio.example.com/a.wav", metadata={"order": "7"})
        for _ in range(4)
    ]
    draft = BatchDraft(jobs=drafts, metadata={"month": 11})
    submit_batch(tenant=world.tenant, api_key=None, draft=draft, now=world.now)


def ping(world, endpoint):
    endpoints.ping_endpoint(
        caller=Caller(tenant=world.tenant, api_key=None),
        endpoint_id=endpoint.pk,
        now=world.now,
    )
