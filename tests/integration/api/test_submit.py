import base64
import hashlib
from datetime import UTC, datetime, timedelta

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile

from jobs.models import Event, Job
from jobs.scheduling import dispatch
from tests.support.api import Api, files_in
from tests.support.factories import make_tenant, make_wav

URL = "https://audio.example.com/a.wav?signature=secret"


def wav(content=None, name="my call.wav", kind="audio/wav"):
    return SimpleUploadedFile(name, make_wav() if content is None else content, kind)


def test_a_url_is_accepted_and_found_where_the_location_says(api, media):
    answer = api.post("/v1/jobs", {"audio_url": URL})

    job = Job.objects.get()
    assert answer.status_code == 202
    assert answer.headers["Location"] == f"/v1/jobs/{job.pk}"
    assert answer.headers["Retry-After"] == "2"
    assert "Idempotency-Replayed" not in answer.headers
    assert job.audio_url == URL
    assert (job.tenant, job.api_key, job.priority) == (api.tenant, api.key, 6)
    assert Event.objects.get().actor == f"key:{api.key.public_id}"
    found = api.get(answer.headers["Location"]).json()
    assert {name: found[name] for name in answer.json()} == answer.json()


def test_a_job_is_shown_without_the_secrets_of_its_url(api):
    body = {
        "audio_url": URL,
        "options": {"model": "nova-2", "keywords": "a:2", "smart_format": False},
        "priority": "high",
        "callback_url": "https://hooks.example.com/x?token=1",
        "metadata": {"order": 7, "vip": True, "note": "\N{GRINNING FACE}", "rate": 1.5},
        "max_attempts": 3,
    }

    shown = api.post("/v1/jobs", body).json()

    job = Job.objects.get()
    assert shown == {
        "id": str(job.pk),
        "object": "job",
        "status": "queued",
        "mode": "async",
        "batch_id": None,
        "custom_id": None,
        "priority": "high",
        "audio": {"url": "https://audio.example.com/a.wav"},
        "options": {"model": "nova-2", "keywords": ["a:2"], "smart_format": False},
        "metadata": body["metadata"],
        "duration_seconds": None,
        "attempt": 0,
        "max_attempts": 3,
        "created_at": job.created_at.isoformat().replace("+00:00", "Z"),
        "started_at": None,
        "finished_at": None,
        "next_attempt_at": None,
        "expires_at": None,
        "erased_at": None,
        "retention": {
            "audio_days": None,
            "transcript_days": None,
            "payload_days": None,
            "erased": [],
        },
        "retry_of": None,
        "region": None,
        "error": None,
        "warnings": [],
        "result_url": None,
        "route": None,
    }
    assert job.callback_url == body["callback_url"]


def test_an_upload_is_kept_examined_and_described(api, media):
    content = make_wav(0.5, channels=2)

    answer = api.form(
        {
            "file": wav(content),
            "options": '{"language": "de"}',
            "metadata": '{"order": 7}',
            "priority": "low",
            "max_attempts": "2",
            "expires_in_seconds": "60",
            "retention": '{"audio_days": 0}',
        }
    )

    assert answer.status_code == 202, answer.content
    job = Job.objects.get()
    assert files_in(media) == [job.upload]
    assert job.upload.startswith(f"audio/{api.tenant.pk}/")
    assert job.upload.endswith("/my_call.wav")
    assert (media / job.upload).read_bytes() == content
    assert job.sha256 == hashlib.sha256(content).hexdigest()
    assert (job.duration_seconds, job.channels, job.is_silent) == (0.5, 2, False)
    assert (job.filename, job.size_bytes) == ("my call.wav", len(content))
    assert (job.content_type, job.priority, job.max_attempts) == ("audio/wav", 9, 2)
    assert (job.options["language"], job.metadata) == ("de", {"order": 7})
    assert job.expires_at == job.created_at + timedelta(seconds=60)
    audio = {"filename": "my call.wav", "size_bytes": len(content)}
    assert answer.json()["audio"] == audio
    assert answer.json()["retention"]["audio_days"] == 0


def test_the_files_own_format_is_believed_not_its_label(api):
    assert api.form({"file": wav(kind="audio/mpeg", name="x.mp3")}).status_code == 202

    assert Job.objects.get().content_type == "audio/wav"


def test_headerless_audio_is_taken_with_options_that_describe_it(api):
    options = '{"encoding": "linear16", "sample_rate": 8000}'

    answer = api.form({"file": wav(bytes(16000), "x.raw"), "options": options})

    assert answer.status_code == 202
    assert Job.objects.get().duration_seconds == 1.0


def test_a_deadline_may_be_a_time(api):
    at = datetime.now(UTC) + timedelta(hours=1)

    api.post("/v1/jobs", {"audio_url": URL, "expires_at": at.isoformat()})

    assert Job.objects.get().expires_at == at


def test_the_tenants_defaults_stand_where_nothing_else_was_asked(db):
    api = Api(make_tenant(default_options={"model": "nova-2", "punctuate": True}))

    api.post("/v1/jobs", {"audio_url": URL, "options": {"punctuate": False}})

    expected = {"model": "nova-2", "punctuate": False, "smart_format": True}
    assert Job.objects.get().options == expected


def test_options_are_judged_together_with_the_tenants_defaults(db):
    api = Api(make_tenant(default_options={"model": "nova-2"}))

    answer = api.post("/v1/jobs", {"audio_url": URL, "options": {"keyterm": "a"}})

    assert (answer.status_code, answer.json()["code"]) == (400, "option_conflict")
    assert Job.objects.count() == 0


def test_sixteen_keys_of_512_characters_are_allowed(api):
    metadata = {f"{n:0512}": "x" * 512 for n in range(16)}

    assert (
        api.post("/v1/jobs", {"audio_url": URL, "metadata": metadata}).status_code
        == 202
    )


def test_an_internal_receiver_may_be_allowed_by_the_operator(api, settings):
    settings.EGRESS_ALLOW = ["127.0.0.1:9000", "files.corp"]
    body = {
        "audio_url": "http://files.corp:8123/a.wav",
        "callback_url": "http://127.0.0.1:9000/hook",
    }

    assert api.post("/v1/jobs", body).status_code == 202


def test_the_dispatcher_is_woken_after_the_commit_and_once(
    api, monkeypatch, django_capture_on_commit_callbacks
):
    woken = []
    monkeypatch.setattr(dispatch, "wake", lambda: woken.append(Job.objects.count()))
    headers = {"Idempotency-Key": "k"}

    with django_capture_on_commit_callbacks(execute=True):
        api.post("/v1/jobs", {"audio_url": URL}, headers)
        api.post("/v1/jobs", {"audio_url": URL}, headers)
        assert woken == []

    assert woken == [1]


def test_a_form_may_carry_a_url_instead_of_a_file(api):
    assert api.form({"audio_url": URL}).status_code == 202
    assert Job.objects.get().audio_url == URL


def test_a_files_content_may_come_in_base64(api):
    content = make_wav()
    encoded = b"--b\r\n" + (
        b'Content-Disposition: form-data; name="file"; filename="a.wav"\r\n'
        b"Content-Type: audio/wav\r\nContent-Transfer-Encoding: base64\r\n\r\n"
    )
    encoded += base64.b64encode(content) + b"\r\n--b--\r\n"

    answer = api.post(
        "/v1/jobs",
        encoded,
        content_type="multipart/form-data; boundary=b",
    )

    assert answer.status_code == 202
    assert Job.objects.get().sha256 == hashlib.sha256(content).hexdigest()


@pytest.mark.parametrize("name", ["/../../x.wav", "C:\\secret\\x.wav", "\x01x.wav"])
def test_no_file_name_leads_out_of_the_jobs_folder(api, media, name):
    api.form({"file": wav(name=name)})

    (path,) = files_in(media)
    assert path.startswith(f"audio/{api.tenant.pk}/")
    assert path.endswith("/x.wav")
    assert Job.objects.get().filename == "x.wav"
