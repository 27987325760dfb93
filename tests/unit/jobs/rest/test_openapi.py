"""Examples of operations: read beside the view, with references resolved."""

import json

import pytest
from rest_framework import serializers

from jobs.rest import openapi


class ToolOutput(serializers.Serializer):
    name = serializers.CharField()


def test_an_example_may_differ_from_another_value(tmp_path):
    path = tmp_path / openapi.EXAMPLES
    job = {"status": "queued", "batch": {"$like": "batch"}}
    same = [{"status": 200, "response": [{"$like": "job", "status": "canceled"}]}]
    path.write_text(json.dumps({"batch": {"id": 1}, "job": job, "cancel": same}))

    examples = openapi._read_examples(path)

    answer = {"status": "canceled", "batch": {"id": 1}}
    assert examples == {"cancel": [{"status": 200, "response": [answer]}]}


def test_a_reference_to_an_unknown_value_is_an_error(tmp_path):
    path = tmp_path / openapi.EXAMPLES
    path.write_text(json.dumps({"get": [{"status": 200, "response": {"$like": "x"}}]}))

    with pytest.raises(KeyError):
        openapi._read_examples(path)


def test_a_page_is_named_after_its_rows():
    page = openapi.page(ToolOutput, "One page of tools.")

    assert (page.__name__, page.__doc__) == ("ToolPage", "One page of tools.")
    assert list(page().fields) == ["has_more", "next_cursor", "data"]
