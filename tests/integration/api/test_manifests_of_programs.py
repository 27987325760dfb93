"""Manifests and forms as spreadsheets, pandas and SQL clients write them.

The files in ``tests/cases/manifests`` were refused once.
"""

import json

import pytest

from jobs import option_values
from jobs.models import Batch, Job
from tests.support.api import assert_problem
from tests.support.cases import CASES
from tests.support.factories import make_job, make_region, make_wav
from tests.support.manifests import URL, jsonl, line, send_manifest

CONTROL = "\N{NEXT LINE}"
JOINED = "👨\u200d👩\u200d👧 نامه\u200cها"


def text_of_problem(answer):
    assert answer.status_code == 400, answer.content
    return json.dumps(answer.json(), ensure_ascii=False)


def send_csv(api, text):
    return send_manifest(api, text.encode(), content_type="text/csv")


def jobs_of(answer):
    assert answer.status_code == 202, answer.content
    return list(Job.objects.filter(batch=answer.json()["id"]).order_by("line"))


def send_case(api, name):
    body = (CASES / "manifests" / name).read_bytes()
    kind = "text/csv" if name.endswith(".csv") else "application/x-ndjson"
    assert send_manifest(api, body, content_type=kind, path="/v1/batches/check")
    return jobs_of(send_manifest(api, body, content_type=kind))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("excel_TRUE.csv", [("c1", {"diarize": True}), ("c2", {"diarize": False})]),
        ("pandas_True.csv", [("c1", {"diarize": True}), ("c2", {"diarize": False})]),
        ("excel_emptyrows.csv", [("c1", {})]),
        ("excel_emptycols.csv", [("c1", {})]),
        ("excel_padcols.csv", [("c1", {})]),
        ("nullmeta.jsonl", [("", {})]),
        ("pandas_nan.csv", [("c1", {}), ("c2", {}), ("c3", {})]),
    ],
)
def test_a_file_that_was_refused_once_is_accepted(api, name, expected):
    found = send_case(api, name)

    defaults = {"model": "nova-3", "smart_format": True}
    assert [
        (job.custom_id, {k: v for k, v in job.options.items() if k not in defaults})
        for job in found
    ] == expected
    assert all(job.metadata == {} for job in found)


def test_a_missing_priority_is_the_default_in_each_of_its_spellings(api):
    priorities = [job.priority for job in send_case(api, "pandas_nan.csv")]

    assert priorities == [3, 6, 6]


def test_a_presigned_url_with_a_session_token_is_accepted(api):
    (job,) = send_case(api, "long_url.jsonl")

    assert 2048 < len(job.audio_url) <= 8192


@pytest.mark.parametrize("length", [8192, 8193])
def test_the_longest_url(api, length):
    url = URL.format("a").ljust(length, "x")

    answer = send_manifest(api, jsonl([{"audio_url": url}]))

    assert answer.status_code == (202 if length == 8192 else 400)


@pytest.mark.parametrize("text", ["TRUE", "True", "true", " true "])
def test_each_spelling_of_true(api, text):
    (job,) = jobs_of(
        send_csv(api, f"audio_url,options.redact\n{URL.format(1)},{text}\n")
    )

    assert job.options["redact"] is True


@pytest.mark.parametrize("text", ["nan", "NaN", "NULL", "None", "<NA>", "", " "])
@pytest.mark.parametrize("column", ["options.language", "max_attempts", "custom_id"])
def test_each_spelling_of_a_missing_value(api, text, column):
    (job,) = jobs_of(send_csv(api, f"audio_url,{column}\n{URL.format(1)},{text}\n"))

    assert ("language" in job.options, job.max_attempts, job.custom_id) == (
        False,
        5,
        "",
    )


def test_metadata_is_never_interpreted(api):
    body = f"audio_url,metadata.a,metadata.b\n{URL.format(1)},None,TRUE\n"

    (job,) = jobs_of(send_csv(api, body))

    assert job.metadata == {"a": "None", "b": "TRUE"}


def test_whole_numbers_of_a_column_with_gaps(api):
    body = f"audio_url,max_attempts,options.channels\n{URL.format(1)},3.0,2.0\n"

    (job,) = jobs_of(send_csv(api, body))

    assert (job.max_attempts, job.options["channels"]) == (3, 2)


@pytest.mark.parametrize(
    "body",
    [
        ",,\n{0}\n,,\naudio_url,custom_id,\n{1},c1,\n,\n",
        "audio_url,,custom_id\n{1},,c1\n",
        "audio_url,custom_id,priority\n{1},c1\n",
        "audio_url,custom_id\n{1},c1,,,,\n \n\n ,\n",
    ],
)
def test_empty_rows_and_columns_are_passed_over(api, body):
    (job,) = jobs_of(send_csv(api, body.format("", URL.format(1))))

    assert job.custom_id == "c1"


def test_a_cell_below_no_name_is_an_error(api):
    answer = send_csv(api, f"audio_url,,custom_id\n{URL.format(1)},lost,c1\n")

    problem = assert_problem(answer, 400, "csv_invalid")
    assert "without a name" in problem["errors"][0]["detail"]


def test_null_is_not_given_in_json_and_a_default_remains(api):
    item = {
        **line(
            1, priority=None, options={"diarize": None}, metadata={"a": None, "b": 1}
        ),
        "custom_id": None,
    }
    defaults = {"priority": "low", "options": {"diarize": True}, "metadata": {"a": 7}}
    answer = api.post("/v1/batches", body={"items": [item], "defaults": defaults})

    (job,) = jobs_of(answer)

    assert (job.priority, job.custom_id) == (9, "")
    assert (job.options["diarize"], job.metadata) == (True, {"a": 7, "b": 1})


def test_null_is_not_given_in_a_single_job(api):
    body = {"audio_url": URL.format(1), "options": {"language": None}}

    answer = api.post("/v1/jobs", body={**body, "callback_url": None, "metadata": None})

    assert answer.status_code == 202, answer.content
    assert "language" not in Job.objects.get().options


@pytest.mark.parametrize("name", ["a\u202fb\u3000c\xa0d", JOINED, CONTROL])
def test_only_control_characters_are_control_characters(api, name):
    answer = send_manifest(api, jsonl([{**line(1), "custom_id": name}]))

    if name == CONTROL:
        assert_problem(answer, 400, "field_invalid")
    else:
        assert jobs_of(answer)[0].custom_id == name


@pytest.mark.parametrize("name", ["a\u202fb\u3000c\xa0d.wav", f"{JOINED}.wav"])
def test_a_file_name_in_any_script_is_kept(api, name):
    answer = api.upload(make_wav(seconds=1), name=name)

    assert answer.status_code == 202, answer.content
    assert Job.objects.get().filename == name


@pytest.mark.parametrize(
    "value", ["TRUE", ["True"], ["pci", "FALSE"], "yes", "1", "None"]
)
def test_a_boolean_is_never_the_name_of_a_redaction(api, value):
    body = {"audio_url": URL.format(1), "options": {"redact": value}}

    assert_problem(api.post("/v1/jobs", body=body), 400, "option_invalid")


def test_an_unknown_value_is_a_warning_with_a_suggestion(api):
    options = {"redact": ["pci", "phone_numbers"], "model": "nova-2-fonecall"}
    body = {"audio_url": URL.format(1), "options": {**options, "language": "xx-YY"}}

    answer = api.post("/v1/jobs", body=body)

    warnings = answer.json()["warnings"]
    assert {each["code"] for each in warnings} == {option_values.UNKNOWN_VALUE}
    language, model, redact = sorted(each["detail"] for each in warnings)
    assert "'nova-2-fonecall'. Did you mean 'nova-2-phonecall'?" in model
    assert "'xx'" in language
    assert "'phone_numbers'. Did you mean 'phone_number'?" in redact


def test_a_batch_warns_too(api):
    (job,) = jobs_of(send_manifest(api, jsonl([line(1, options={"redact": ["pcl"]})])))

    assert "Did you mean 'pci'?" in job.warnings[0]["detail"]


@pytest.mark.parametrize(
    ("body", "hint"),
    [
        ({"url": URL}, "'audio_url'"),
        ({"audioUrl": URL}, "'audio_url'"),
        ({"webhook": URL}, "'callback_url'"),
        ({"lang": "de"}, "'options.language'"),
        ({"diarize": True}, "'options.diarize'"),
        ({"audio_url": URL, "options": {"speaker_labels": True}}, "'diarize'"),
        ({"audio_url": URL, "options": {"Smart-Format": True}}, "'smart_format'"),
        ({"audio_url": URL, "options": {"model": "nova3"}}, "'nova-3'"),
    ],
)
def test_the_name_that_was_meant_is_suggested(api, body, hint):
    problem = text_of_problem(api.post("/v1/jobs", body=body))

    assert f"did you mean {hint}" in problem.lower()


@pytest.mark.parametrize(
    ("path", "hint"),
    [
        ("/v1/jobs?state=failed", "'status'"),
        ("/v1/jobs?createdAfter=x", "'created_after'"),
        ("/v1/batches?page_size=1", "'limit'"),
        ("/v1/transcripts?query=a", "'q'"),
    ],
)
def test_the_parameter_that_was_meant_is_suggested(api, path, hint):
    assert f"Did you mean {hint}?" in text_of_problem(api.get(path))


def test_the_column_that_was_meant_is_suggested(api):
    problem = text_of_problem(send_csv(api, "url\nhttps://a.example.com/1\n"))

    assert "Did you mean 'audio_url'?" in problem
    assert not Batch.objects.exists()


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("custom_id=c-2", ["c-2"]),
        ("mode=sync", ["c-1"]),
        ("mode=live", []),
        ("region=eu-west-1", ["c-2"]),
        ("error_code=upstream_error", ["c-3"]),
        ("custom_id=c-2&mode=sync", []),
    ],
)
def test_jobs_are_filtered_by_the_new_parameters(api, query, expected):
    make_job(api.tenant, custom_id="c-1", mode="sync")
    second = make_job(api.tenant, custom_id="c-2")
    Job.objects.filter(pk=second.pk).update(region=make_region("eu-west-1"))
    make_job(api.tenant, custom_id="c-3", status="failed")
    make_job(custom_id="c-2")  # another tenant's

    found = api.get(f"/v1/jobs?{query}").json()["data"]

    assert [job["custom_id"] for job in found] == expected
