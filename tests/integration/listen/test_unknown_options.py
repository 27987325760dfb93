"""Options that the platform does not know, by the policy of tenant and platform."""

import json

import pytest

from jobs.models import Batch, Job
from jobs.options import MAX_WARNINGS
from tests.support.factories import make_wav

URL = "https://audio.example.com/a.wav"


def listen(customer, query):
    return customer.post(
        f"?{query}", content=make_wav(), headers={"content-type": "audio/wav"}
    )


def set_policy(customer, policy):
    customer.api.tenant.unknown_options = policy
    customer.api.tenant.save()


def sent_query(emulator):
    return emulator.listen_calls()[-1]["query"]


@pytest.mark.parametrize(
    ("query", "ignored", "detail"),
    [
        ("temperature=0", "temperature", "unknown"),
        ("alternatives=1", "alternatives", "unknown"),
        ("endpointing=300", "endpointing", "not for prerecorded audio"),
        ("interim_results=False", "interim_results", "not for prerecorded audio"),
        ("a%0D%0Ab=1", "a%0D%0Ab", "unknown"),
        ("a%00=1", "a%00", "unknown"),
        ("tier=nova-9&model=nova-3", "tier", "unknown"),
    ],
)
def test_deepgrams_route_ignores_an_unknown_option(
    customer, emulator, query, ignored, detail
):
    answer = listen(customer, query)

    assert answer.status_code == 200, answer.text
    assert answer.headers["ignored-options"] == ignored
    job = Job.objects.get()
    (warning,) = [each for each in job.warnings if each["code"] == "option_ignored"]
    assert detail in warning["detail"]
    assert set(job.options) == {"model", "smart_format"}


def test_a_flood_of_unknown_options_is_ignored_too(customer, emulator):
    query = "&".join(f"option_{number}=1" for number in range(900))

    answer = listen(customer, query)

    assert answer.status_code == 200
    assert answer.headers["ignored-options"].count(",") == MAX_WARNINGS - 1
    assert len(Job.objects.get().warnings) <= MAX_WARNINGS + 2


@pytest.mark.parametrize(
    ("query", "model"),
    [
        ("model=general", "base-general"),
        ("model=phonecall", "base-phonecall"),
        ("tier=enhanced", "enhanced-general"),
        ("tier=nova&model=phonecall", "nova-phonecall"),
        ("model=nova-3", "nova-3"),
        ("model=general&smart_format=True", "base-general"),
    ],
)
def test_older_names_of_models_are_written_in_full(customer, emulator, query, model):
    answer = listen(customer, query)

    assert answer.status_code == 200, answer.text
    assert Job.objects.get().options["model"] == model
    assert "ignored-options" not in answer.headers


@pytest.mark.parametrize("source", ["tenant", "platform"])
def test_unknown_options_are_refused_where_the_operator_wants_it(
    customer, settings, source
):
    if source == "tenant":
        set_policy(customer, "refuse")
    else:
        settings.UNKNOWN_OPTIONS = "refuse"

    answer = listen(customer, "temperature=0")

    assert answer.status_code == 400
    assert answer.json()["err_code"] == "INVALID_QUERY_PARAMETER"
    assert answer.json()["err_msg"].startswith("temperature: Unknown option.")
    assert not Job.objects.exists()


def test_unknown_options_are_passed_where_the_operator_wants_it(customer, emulator):
    set_policy(customer, "pass")

    answer = listen(
        customer, "new_flag=true&new_number=2&new_list=a&new_list=b&endpointing=1"
    )

    assert answer.status_code == 200, answer.text
    assert answer.headers["ignored-options"] == "endpointing"
    sent = sent_query(emulator)
    for pair in ("new_flag=true", "new_number=2", "new_list=a", "new_list=b"):
        assert pair in sent
    assert "endpointing" not in sent


@pytest.mark.parametrize("query", ["smart_format=maybe", "callback=x", "tag=job:1"])
def test_an_invalid_value_is_refused_by_any_policy(customer, query):
    for policy in ("ignore", "pass", "refuse"):
        set_policy(customer, policy)

        answer = listen(customer, query)

        assert answer.status_code == 400, answer.text
        assert query.partition("=")[0] in answer.json()["err_msg"]


def test_conflicting_options_are_named_as_parameters(customer):
    answer = listen(customer, "model=nova-3&keywords=a:1")

    assert answer.json()["err_msg"].startswith("keywords: ")


def submit(customer, path="/v1/jobs", **options):
    body = {"audio_url": URL, "options": options}
    if path == "/v1/batches":
        body = {"items": [body], "defaults": {"options": options}}
    return customer.api.post(path, body)


PATHS = ["/v1/jobs", "/v1/batches", "/v1/transcribe"]


@pytest.mark.parametrize("path", PATHS)
def test_other_routes_refuse_unknown_options_by_default(customer, path):
    answer = submit(customer, path, temperature=0)

    assert answer.status_code == 400
    assert "option_unknown" in answer.content.decode()
    assert not Job.objects.exists()


@pytest.mark.parametrize("path", ["/v1/jobs", "/v1/batches"])
def test_other_routes_follow_the_tenants_policy(customer, path):
    set_policy(customer, "ignore")
    ignored = submit(customer, path, temperature=0, punctuate=True)
    set_policy(customer, "pass")
    passed = submit(customer, path, temperature=0.5, new_list=["a", 1, True])
    wrong = submit(customer, path, new_object={"a": 1})

    assert (ignored.status_code, passed.status_code) == (202, 202), ignored.content
    first, second = Job.objects.order_by("pk")
    assert "temperature" not in first.options
    assert first.options["punctuate"] is True
    assert [each["code"] for each in first.warnings] == ["option_ignored"]
    assert second.options["temperature"] == 0.5
    assert second.options["new_list"] == ["a", 1, True]
    assert second.warnings == []
    assert (wrong.status_code, json.loads(wrong.content)["status"]) == (400, 400)
    assert Batch.objects.count() == (2 if path == "/v1/batches" else 0)
