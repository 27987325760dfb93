"""A batch from a manifest: what is taken, and every way in which one can be bad."""

import csv
import gzip
import io
import itertools
import json
import time
from contextlib import ExitStack
from datetime import timedelta
from types import SimpleNamespace

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.utils import timezone
from django.utils.dateparse import parse_datetime

from jobs.batches import item_file
from jobs.batches.item_input import BatchItemInput
from jobs.batches.manifests import reader as manifests_reader
from jobs.models import Batch, BatchError, Event, IdempotencyKey, Job
from tests.support.api import assert_nothing_written, assert_problem
from tests.support.factories import make_region
from tests.support.manifests import JSONL, URL, jsonl, line, send_manifest


def packed(body):
    return gzip.compress(body, mtime=0)  # the same at any time, as names of tests are


def table(rows):
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    return text.getvalue().encode()


def jobs_of(answer):
    assert answer.status_code == 202, answer.content
    return list(Job.objects.filter(batch=answer.json()["id"]).order_by("pk"))


def faults_of(problem):
    return [(e.get("line"), e["pointer"], e["code"]) for e in problem["errors"]]


def test_a_line_of_json_is_a_job(api):
    make_region("eu-west-1")
    body = jsonl(
        [
            line(1, options={"diarize": True}, priority="low"),
            line(2, metadata={"n": 2}, allowed_regions=["eu-west-1"]),
        ]
    )
    query = (
        '?defaults={"options":{"model":"nova-2"},"priority":"high"}'
        '&metadata={"night":1}&callback_url=https://hooks.example.com/b'
    )

    answer = send_manifest(api, body, query)

    first, second = jobs_of(answer)
    assert first.options == {"model": "nova-2", "smart_format": True, "diarize": True}
    assert (first.priority, first.custom_id, first.lane) == (9, "c-1", "*")
    assert (first.line, second.line) == (1, 2)
    assert (second.priority, second.metadata, second.lane) == (3, {"n": 2}, "eu-west-1")
    assert (first.ready, first.status, first.audio_url) == (
        True,
        "queued",
        URL.format(1),
    )
    batch = Batch.objects.get()
    assert (batch.metadata, batch.callback_url) == (
        {"night": 1}, "https://hooks.example.com/b",
    )  # fmt: skip
    told = Event.objects.filter(job=first).get()
    assert (told.type, told.actor) == ("job.queued", f"key:{api.key.public_id}")
    assert answer.headers["Location"] == f"/v1/batches/{batch.pk}"


def test_a_row_of_csv_is_a_job(api):
    make_region("eu-west-1")
    body = table(
        [
            ["audio_url", "custom_id", "priority", "options.diarize", "options.keyterm",
             "options.keyterm", "metadata.order", "max_attempts", "allowed_regions"],
            [URL.format(1), "a,b", "low", "true", "Ada", "Bob", 'a "7"', "3", "eu-west-1"],
            [URL.format(2), "", "", "", "", "", "", "", ""],
        ]
    )  # fmt: skip

    first, second = jobs_of(
        send_manifest(api, body, content_type="text/csv; charset=utf-8")
    )

    assert (first.custom_id, first.metadata) == ("a,b", {"order": 'a "7"'})
    assert first.options["keyterm"] == ["Ada", "Bob"]
    assert first.options["diarize"] is True
    assert (first.max_attempts, first.lane) == (3, "eu-west-1")
    assert (second.custom_id, second.metadata, second.max_attempts) == ("", {}, 5)


def test_nothing_that_an_item_asks_for_is_lost_on_its_way(api):
    make_region("eu-west-1")
    asked = {
        "audio_url": URL.format(1),
        "options": {"diarize": True},
        "metadata": {"order": 7},
        "callback_url": "https://hooks.example.com/a",
        "priority": "low",
        "allowed_regions": ["eu-west-1"],
        "max_attempts": 3,
        "expires_at": (timezone.now() + timedelta(days=1)).isoformat(),
        "retention": {"audio_days": 0, "transcript_days": 7},
    }
    named = {*asked, "expires_in_seconds", "custom_id"}
    assert set(BatchItemInput().fields) == named  # a new field belongs in here

    alone = Job.objects.get(pk=api.post("/v1/jobs", body=asked).json()["id"])
    (item,) = jobs_of(send_manifest(api, jsonl([asked])))

    own = {"id", "batch", "line", "created_at", "traceparent"}
    names = [field.name for field in Job._meta.concrete_fields if field.name not in own]
    assert [(name, getattr(item, name)) for name in names] == [
        (name, getattr(alone, name)) for name in names
    ]


def test_a_form_says_the_same(api, media):
    file = SimpleUploadedFile(
        "calls.csv.gz",
        packed(table([["audio_url"], [URL.format(1)]])),
        "application/gzip",
    )
    fields = {
        "file": file,
        "defaults": '{"priority": "low"}',
        "expires_in_seconds": "60",
        "on_error": "skip",
    }

    answer = api.client.post("/v1/batches", fields, headers=api.headers())

    (job,) = jobs_of(answer)
    assert job.priority == 9
    left = job.expires_at - timezone.now()
    assert timedelta(seconds=50) < left <= timedelta(seconds=60)
    assert Batch.objects.get().expires_at == job.expires_at
    assert [p for p in media.rglob("*") if p.is_file()] == []


@pytest.mark.parametrize(
    "body",
    [
        b"\xef\xbb\xbf" + jsonl([line(1), line(2)]),
        jsonl([line(1), line(2)]).replace(b"\n", b"\r\n"),
        b"\n\n" + jsonl([line(1)]) + b"  \n" + jsonl([line(2)]).rstrip(),
        packed(jsonl([line(1)])) + packed(jsonl([line(2)])),
    ],
    ids=["byte order mark", "CRLF", "empty lines, no last end", "two gzip members"],
)
@pytest.mark.parametrize("content_type", [JSONL, "application/gzip"])
def test_what_editors_and_tools_make_of_lines_is_taken(api, body, content_type):
    jobs = jobs_of(send_manifest(api, body, content_type=content_type))

    assert [job.custom_id for job in jobs] == ["c-1", "c-2"]


LONG = b'{"audio_url":"' + b"x" * 1024**2 + b'"}\n'
GOOD = jsonl([line(1)])


@pytest.mark.parametrize(
    ("body", "where", "code"),
    [
        (b"nonsense\n", (1, ""), "json_invalid"),
        (b"[1]\n", (1, ""), "field_invalid"),
        (jsonl([{"custom_id": "x"}]), (1, "/audio_url"), "field_required"),
        (GOOD + GOOD, (2, "/custom_id"), "custom_id_repeated"),
        (GOOD + b'{"audio_url":"\xe4"}\n', (2, ""), "text_invalid"),
        (GOOD + LONG, (2, ""), "line_too_long"),
        (LONG.rstrip() + b"\n" + GOOD, (1, ""), "line_too_long"),
        (GOOD + jsonl([line(2, file="x")]), (2, "/file"), "field_unknown"),
        (jsonl([line(1, options={"keywords": ["x"]})]), (1, "/options/keywords"), "option_conflict"),
        (jsonl([line(1, allowed_regions=["mars"])]), (1, "/allowed_regions"), "region_not_allowed"),
        (jsonl([line(1, audio_url="http://127.0.0.1/")]), (1, "/audio_url"), "url_not_allowed"),
        (b'{"a":1,"a":2}\n', (1, ""), "json_invalid"),
        (b'{"audio_url":"\\u0000"}\n', (1, "/audio_url"), "text_invalid"),
    ],
)  # fmt: skip
def test_a_bad_line_refuses_all_of_them(api, media, body, where, code):
    make_region("eu-west-1")

    answer = send_manifest(api, body, **{"Idempotency-Key": "m-1"})

    problem = assert_problem(answer, 400, code)
    assert faults_of(problem) == [(*where, code)]
    assert problem["error_count"] == 1
    assert_nothing_written(media)
    assert (Batch.objects.count(), BatchError.objects.count()) == (0, 0)


@pytest.mark.parametrize(
    ("rows", "where", "code"),
    [
        ([["audio_url"], ["a", "b"]], (2, ""), "csv_invalid"),
        ([["audio_url", "options.diarize"], [URL, "perhaps"]], (2, "/options/diarize"), "option_invalid"),
        ([["audio_url", "max_attempts"], [URL.format(1), "many"]], (2, "/max_attempts"), "field_invalid"),
        ([["audio_url", "metadata.a"], [URL.format(1), "a\0b"]], (2, "/metadata/a"), "text_invalid"),
    ],
)  # fmt: skip
def test_a_bad_row_refuses_all_of_them(api, media, rows, where, code):
    problem = assert_problem(
        send_manifest(api, table(rows), content_type="text/csv"), 400, code
    )

    assert faults_of(problem) == [(*where, code)]
    assert_nothing_written(media)


@pytest.mark.parametrize(
    ("body", "content_type", "status", "code"),
    [
        (b" \n\r\n", JSONL, 400, "manifest_empty"),
        (packed(b""), "application/gzip", 400, "manifest_empty"),
        (table([["audio_url"]]), "text/csv", 400, "manifest_empty"),
        (table([["audio_url", "colour"], ["a", "b"]]), "text/csv", 400, "manifest_header_invalid"),
        (table([["audio_url", "audio_url"], ["a", "b"]]), "text/csv", 400, "manifest_header_invalid"),
        (packed(GOOD)[:-4], JSONL, 400, "manifest_gzip_invalid"),
        (packed(GOOD) + b"tail", JSONL, 400, "manifest_gzip_invalid"),
        (b"\x1f\x8b\x08nonsense", JSONL, 400, "manifest_gzip_invalid"),
        (packed(b"") * 1001, JSONL, 400, "manifest_gzip_invalid"),
        (GOOD.decode().encode("utf-16"), JSONL, 400, "manifest_encoding"),
        (packed(b"x" * 3_000_000), JSONL, 413, "manifest_too_large"),
        (b"x" * 3_000_000, JSONL, 413, "manifest_too_large"),
        (packed(b"\n" * 200_000), JSONL, 400, "manifest_too_long"),
        (packed(GOOD + b"\n" * 200_000), JSONL, 400, "manifest_too_long"),
        (GOOD, "audio/wav", 415, "unsupported_media_type"),
    ],
)  # fmt: skip
def test_what_is_no_manifest_is_refused_whole(
    api, settings, body, content_type, status, code
):
    settings.MANIFEST_MAX_BYTES = 2_000_000

    assert_problem(send_manifest(api, body, content_type=content_type), status, code)

    assert_nothing_written(settings.MEDIA_ROOT)
    assert Batch.objects.count() == 0


def test_one_line_more_than_we_take_is_too_many(api, media, monkeypatch):
    monkeypatch.setattr("jobs.batches.manifests.reader.MAX_LINES", 3)
    rows = [["audio_url"], *([URL.format(n)] for n in range(4))]

    for body, kind in (
        (jsonl(line(n) for n in range(4)), JSONL),
        (table(rows), "text/csv"),
    ):
        assert_problem(
            send_manifest(api, body, content_type=kind), 400, "manifest_too_long"
        )

    assert_nothing_written(media)
    assert (
        len(jobs_of(send_manifest(api, table(rows[:4]), content_type="text/csv"))) == 3
    )


def csv_of(columns, rows, cell=""):
    header = ["audio_url", *["options.keyterm"] * (columns - 1)]
    return table([header, *[[cell] * columns] * rows])


LIMITS = [
    pytest.param(
        packed(csv_of(4000, 200)), "manifest_header_invalid", id="columns of CSV"
    ),
    pytest.param(packed(csv_of(200, 60)), "manifest_too_complex", id="cells of CSV"),
    pytest.param(
        packed(b'{"x":[' + b"0," * 4000 + b"0]}\n") * 3,
        "manifest_too_complex",
        id="values of JSON",
    ),
    pytest.param(
        packed(jsonl([line(1)]) + b" " * (33 << 20)),
        "manifest_too_complex",
        id="bytes of gzip",
    ),
]


@pytest.mark.parametrize(("body", "code"), LIMITS)
@pytest.mark.parametrize("path", ["/v1/batches", "/v1/batches/check"])
def test_a_manifest_of_much_work_is_refused_after_little(
    api, media, monkeypatch, path, body, code
):
    monkeypatch.setattr(manifests_reader, "MAX_CELLS", 10_000)
    before = time.thread_time()

    answer = api.post(path, body=body, content_type="application/gzip")

    assert time.thread_time() - before < 1
    assert_problem(answer, 400, code)
    assert_nothing_written(media)


def test_a_manifest_that_takes_too_long_to_read_is_refused(api, media, monkeypatch):
    monkeypatch.setattr(item_file, "MAX_CPU_SECONDS", -1.0)
    monkeypatch.setattr(item_file, "_WORK_SECONDS", 0.0)

    answer = send_manifest(api, jsonl([line(1)]))

    assert_problem(answer, 400, "manifest_too_complex")
    assert_nothing_written(media)


def test_a_row_of_csv_of_many_lines_has_a_limit_and_the_next_ones_are_read(api):
    long = b",".join([b'"' + b"x" * 60_000 + b'\n"'] * 6) + b"\n"
    good = b"https://a.example.com/2,short\n"
    body = b"audio_url,metadata.note\n" + good + long + good

    told = api.post("/v1/batches/check", body=body, content_type="text/csv")

    *faults, counts = map(json.loads, told.getvalue().splitlines())
    assert faults[0]["code"] == "line_too_long"
    assert faults[0]["line"] == 3
    assert counts["good"] >= 1


def test_a_line_of_json_of_too_many_values_is_a_bad_line(api, media):
    many = line(2, options={"keyterm": [1] * 3_001})

    problem = assert_problem(
        send_manifest(api, jsonl([line(1), many])), 400, "json_invalid"
    )

    assert faults_of(problem) == [(2, "", "json_invalid")]
    assert_nothing_written(media)


def test_a_list_that_is_too_long_is_one_fault_whatever_is_in_it(api):
    many = line(1, allowed_regions=[{}] * 2000)

    problem = assert_problem(send_manifest(api, jsonl([many])), 400, "field_invalid")

    assert faults_of(problem) == [(1, "/allowed_regions", "field_invalid")]


def test_a_fault_does_not_repeat_all_of_a_long_value(api):
    wrong = line(1, priority="low" * 20_000)

    problem = assert_problem(send_manifest(api, jsonl([wrong])), 400, "field_invalid")

    assert len(problem["errors"][0]["detail"]) == item_file.MAX_DETAIL


def test_one_tenants_manifests_leave_a_slot_to_the_others(api, media, monkeypatch):
    monkeypatch.setattr(item_file, "WAIT_SECONDS", 0.01)
    with ExitStack() as stack:
        for _ in range(item_file.MANIFESTS_AT_ONCE - 1):
            slot = item_file._slots.acquire(api.tenant.pk, timeout=0)
            assert stack.enter_context(slot)

        busy = send_manifest(api, jsonl([line(1)]))
        assert_problem(busy, 503, "service_unavailable")
        assert busy.headers["Retry-After"] == "5"
        assert_nothing_written(media)
        assert stack.enter_context(item_file._slots.acquire("other", timeout=0))

    assert send_manifest(api, jsonl([line(1)])).status_code == 202
    assert not item_file._slots._used


def test_a_body_that_is_cut_off_makes_nothing(api, media):
    body = jsonl([line(1), line(2)])

    environ = {
        "wsgi.input": io.BytesIO(body),
        "CONTENT_LENGTH": str(len(body) + 1),
        "CONTENT_TYPE": JSONL,
    }
    answer = api.client.generic("POST", "/v1/batches", headers=api.headers(), **environ)

    assert_problem(answer, 400, "body_truncated")
    assert_nothing_written(media)


@pytest.mark.parametrize(
    ("query", "parameter", "code"),
    [
        ("?on_error=perhaps", "on_error", "field_invalid"),
        ("?defaults={", "defaults", "json_invalid"),
        ('?defaults={"priority":"x"}', "defaults/priority", "field_invalid"),
        ('?defaults={"custom_id":"x"}', "defaults/custom_id", "field_unknown"),
        ("?callback_url=http://127.0.0.1/", "callback_url", "url_not_allowed"),
        ("?expires_in_seconds=0", "expires_in_seconds", "field_invalid"),
        ("?expires_at=2020-01-01T00:00:00Z", "expires_at", "field_invalid"),
        ("?colour=red", "colour", "parameter_unknown"),
    ],
)
def test_a_wrong_setting_is_named(api, media, query, parameter, code):
    problem = assert_problem(send_manifest(api, GOOD, query), 400, code)

    assert [e.get("parameter") for e in problem["errors"]] == [parameter]
    assert_nothing_written(media)


def test_settings_of_a_body_in_json_stand_in_it(api):
    body = json.dumps({"items": [line(1)]}).encode()

    answer = send_manifest(api, body, "?on_error=skip", "application/json")

    assert_problem(answer, 400, "parameter_unknown")


def test_the_first_hundred_faults_are_told_and_all_are_counted(api):
    problem = assert_problem(send_manifest(api, b"{}\n" * 150), 400, "invalid_request")

    assert [e["line"] for e in problem["errors"]] == list(range(1, 101))
    assert problem["error_count"] == 150


def test_bad_lines_can_be_left_out_and_are_kept(api):
    body = GOOD + b"x\n" + GOOD + jsonl([line(3)])

    answer = send_manifest(api, body, "?on_error=skip")

    assert [job.custom_id for job in jobs_of(answer)] == ["c-1", "c-3"]
    batch = Batch.objects.get()
    assert (batch.total, batch.skipped) == (2, 2)
    kept = BatchError.objects.filter(batch=batch).order_by("line", "pk")
    assert [(e.line, e.pointer, e.code) for e in kept] == [
        (2, "", "json_invalid"),
        (3, "/custom_id", "custom_id_repeated"),
    ]
    assert kept[0].excerpt == "x"
    assert kept[1].excerpt == GOOD.decode().rstrip()


def test_only_bad_lines_make_nothing_even_if_they_may_be_left_out(api, media):
    assert_problem(send_manifest(api, b"x\n", "?on_error=skip"), 400, "json_invalid")

    assert_nothing_written(media)


def test_the_same_manifest_under_one_key_is_one_batch(api):
    key = {"Idempotency-Key": "m-1"}
    first = send_manifest(api, GOOD, **key)

    again = send_manifest(api, GOOD, **key)
    other_body = send_manifest(api, GOOD + jsonl([line(2)]), **key)
    other_settings = send_manifest(api, GOOD, "?on_error=skip", **key)

    assert first.status_code == 202
    assert again.json() == first.json()
    assert again.headers["Idempotency-Replayed"] == "true"
    assert_problem(other_body, 422, "idempotency_key_reused")
    assert_problem(other_settings, 422, "idempotency_key_reused")
    assert (Batch.objects.count(), Job.objects.count()) == (1, 1)
    assert IdempotencyKey.objects.count() == 1


def test_the_deadline_of_the_batch_is_the_latest_of_its_jobs(api):
    soon = (timezone.now() + timedelta(seconds=60)).isoformat()
    late = (timezone.now() + timedelta(hours=60)).isoformat()
    body = jsonl([line(1, expires_at=soon), line(2, expires_at=late), line(3)])

    first, second, third = jobs_of(send_manifest(api, body, "?expires_in_seconds=3600"))

    deadline = Batch.objects.get().expires_at
    assert first.expires_at == parse_datetime(soon)
    assert second.expires_at == third.expires_at == deadline


def test_quotas_are_reserved_for_all_or_none(api, media):
    api.tenant.max_open_jobs = 3
    api.tenant.save()

    too_many = send_manifest(api, jsonl(line(n) for n in range(4)))
    jobs = jobs_of(send_manifest(api, jsonl(line(n) for n in range(3))))

    assert_problem(too_many, 429, "quota_jobs_exceeded")
    assert [job.reserved_seconds for job in jobs] == [300, 300, 300]
    assert Batch.objects.count() == 1
    assert_problem(send_manifest(api, GOOD), 429, "quota_jobs_exceeded")


def test_after_each_piece_of_work_the_other_threads_of_the_process_run(monkeypatch):
    pauses, clock = [], itertools.count(step=0.003)
    fake = SimpleNamespace(
        perf_counter=lambda: next(clock), thread_time=lambda: 0.0, sleep=pauses.append
    )
    monkeypatch.setattr(item_file, "time", fake)

    assert list(item_file._yield_with_pauses("abc")) == ["a", "b", "c"]

    assert pauses == pytest.approx([0.003 / 6] * 3)
