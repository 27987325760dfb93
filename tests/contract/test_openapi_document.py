"""The OpenAPI document: valid, complete, and with examples that keep to its schemas."""

import json
from typing import Any

import pytest
from django.test import Client
from jsonschema import Draft202012Validator
from openapi_spec_validator import OpenAPIV31SpecValidator
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

DOCUMENT = json.loads(Client().get("/v1/openapi.json").content)
PROBLEM = "application/problem+json"
OPERATIONS = {
    operation["operationId"]: operation
    for path in DOCUMENT["paths"].values()
    for operation in path.values()
}
WITHOUT_KEY = {"get_transcript"}  # by a link
POSTS = [path["post"] for path in DOCUMENT["paths"].values() if "post" in path]


def media_types(operation: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """Name what an operation takes and answers, but for problems."""
    sent = operation.get("requestBody", {}).get("content", {})
    found = [(f"request {kind}", content) for kind, content in sent.items()]
    for status, answer in operation["responses"].items():
        found += [
            (f"{status} {kind}", content)
            for kind, content in answer.get("content", {}).items()
            if kind != PROBLEM
        ]
    return found


def validate(value: Any, schema: dict[str, Any]) -> None:
    """Hold a value to a schema that may refer to the document's components."""
    whole = Resource.from_contents(DOCUMENT, default_specification=DRAFT202012)
    registry = Registry().with_resource("urn:api", whole)
    absolute = json.loads(json.dumps(schema).replace('"#/', '"urn:api#/'))
    errors = Draft202012Validator(absolute, registry=registry).iter_errors(value)
    assert [f"{error.json_path}: {error.message}" for error in errors] == []


operations = pytest.mark.parametrize("name", sorted(OPERATIONS))


def test_it_is_valid_openapi_3_1():
    assert DOCUMENT["openapi"].startswith("3.1")

    OpenAPIV31SpecValidator(DOCUMENT).validate()


@operations
def test_an_operation_says_what_it_does(name):
    operation = OPERATIONS[name]

    assert 5 < len(operation["summary"]) < 80
    assert operation["description"]
    assert len(operation["tags"]) == 1
    assert operation["security"] == [{"ApiKey": []}, *[{}] * (name in WITHOUT_KEY)]
    described = {tag["name"]: tag["description"] for tag in DOCUMENT["tags"]}
    assert described[operation["tags"][0]]


@operations
def test_an_operation_has_an_example_of_all_it_takes_and_answers(name):
    found = media_types(OPERATIONS[name])

    lacking = [place for place, content in found if not content.get("examples")]
    assert lacking == [], (
        "add it to examples.json beside the view (jobs/rest/openapi.py)"
    )
    for _place, content in found:
        for example in content["examples"].values():
            validate(example["value"], content["schema"])


@operations
def test_an_operations_problems_are_told_with_an_example(name):
    responses = OPERATIONS[name]["responses"]

    assert {"400", "401", "403", "406", "503"} <= set(responses)
    for status, answer in responses.items():
        assert "X-Request-Id" in answer["headers"], status
        assert answer["description"], status
        if status >= "400":
            (example,) = answer["content"][PROBLEM]["examples"].values()
            validate(example["value"], answer["content"][PROBLEM]["schema"])
            assert example["value"]["status"] == int(status)


@operations
def test_an_operation_that_takes_an_id_may_not_find_it(name):
    operation = OPERATIONS[name]
    takes_id = any(it["in"] == "path" for it in operation.get("parameters", []))

    assert ("404" in operation["responses"]) >= takes_id


def test_a_post_says_which_bodies_it_refuses():
    for operation in POSTS:
        assert {"411", "413", "415"} <= set(operation["responses"])


@pytest.mark.parametrize("name", sorted(DOCUMENT["webhooks"]))
def test_a_webhook_has_examples_that_keep_to_its_schema(name):
    message = DOCUMENT["webhooks"][name]["post"]["requestBody"]["content"]

    assert message["application/json"]["examples"]
    for example in message["application/json"]["examples"].values():
        validate(example["value"], message["application/json"]["schema"])
