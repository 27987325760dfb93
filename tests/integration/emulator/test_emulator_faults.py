"""Faults by tag and by rule, as the official SDK and a plain client see them."""

import time

import httpx
import pytest
from deepgram.core.api_error import ApiError


def outcome_of(media, wav, *tags: str) -> int:
    """Return the status of one call with these tags."""
    try:
        media.transcribe_file(request=wav, tag=list(tags))
    except ApiError as error:
        return error.status_code
    return 200


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (400, "Bad Request"),
        (401, "INVALID_AUTH"),
        (402, "ASR_PAYMENT_REQUIRED"),
        (403, "INSUFFICIENT_PERMISSIONS"),
        (404, "PROJECT_NOT_FOUND"),
        (408, "SLOW_UPLOAD"),
        (411, "LENGTH_REQUIRED"),
        (413, "PAYLOAD_TOO_LARGE"),
        (415, "UNSUPPORTED_MEDIA_TYPE"),
        (422, "ASR_UNPROCESSABLE_ENTITY"),
        (429, "TOO_MANY_REQUESTS"),
        (499, "INTERNAL_SERVER_ERROR"),
        (500, "INTERNAL_SERVER_ERROR"),
        (503, "INTERNAL_SERVER_ERROR"),
        (504, "GATEWAY_TIMEOUT"),
    ],
)
def test_any_status_can_be_asked_for_in_both_envelopes(media, wav, status, code):
    bodies = []
    for tag in (f"emu:{status}", f"emu:{status}alt"):
        with pytest.raises(ApiError) as caught:
            media.transcribe_file(request=wav(1), tag=[tag])
        assert caught.value.status_code == status
        bodies.append(caught.value.body)

    plain, alternate = bodies
    assert plain.keys() == {"err_code", "err_msg", "request_id"}
    assert alternate.keys() == {"category", "message", "details", "request_id"}
    assert plain["err_code"] == alternate["category"] == code


def test_too_many_requests_has_no_retry_after_unless_asked_for(media, wav):
    headers = []
    for tag in ("emu:429", "emu:429ra1"):
        with pytest.raises(ApiError) as caught:
            media.transcribe_file(request=wav(1), tag=[tag])
        headers.append(caught.value.headers)

    assert "retry-after" not in headers[0]
    assert headers[1]["retry-after"] == "1"


def test_times_are_counted_for_each_job(emulator, media, wav):
    audio = wav(1)

    first = [outcome_of(media, audio, "job:a", "mine", "emu:503x2") for _ in range(4)]
    second = [outcome_of(media, audio, "emu:503x2", "job:b") for _ in range(3)]

    assert first == [503, 503, 200, 200]
    assert second == [503, 503, 200]
    assert [e["outcome"] for e in emulator.log(tag="job:b")] == ["fault", "fault", "ok"]


def test_times_are_counted_for_each_audio_when_there_is_no_job(media, wav):
    audio = wav(1)

    assert [outcome_of(media, audio, "emu:500x1") for _ in range(3)] == [500, 200, 200]
    assert outcome_of(media, wav(1), "emu:500x1") == 500


def test_times_are_counted_for_each_url_when_there_is_no_job(media, site):
    url = f"{site.url}/a.wav"

    with pytest.raises(ApiError):
        media.transcribe_url(url=url, tag=["emu:500x1"])

    assert media.transcribe_url(url=url, tag=["emu:500x1"]).metadata.duration == 2


@pytest.mark.parametrize(
    ("tag", "error"),
    [
        ("emu:close", httpx.RemoteProtocolError),
        ("emu:drop", httpx.RemoteProtocolError),
        ("emu:rst", (httpx.ReadError, httpx.WriteError, httpx.RemoteProtocolError)),
        ("emu:noread0.01", (httpx.NetworkError, httpx.RemoteProtocolError)),
    ],
)
@pytest.mark.parametrize("seconds", [0.1, 300])
def test_connections_break_below_http(emulator, media, wav, tag, error, seconds):
    with pytest.raises(error):
        media.transcribe_file(request=wav(seconds), tag=[tag, "job:x"])

    (entry,) = emulator.log()
    assert entry["outcome"] == "fault"
    assert emulator.stats()["in_flight"] == 0
    assert media.transcribe_file(request=wav(1)).metadata.duration == 1


def test_a_server_that_does_not_read_stops_the_upload(emulator, wav):
    with pytest.raises((httpx.WriteTimeout, httpx.ReadTimeout)):
        emulator.http.post(
            "/v1/listen?tag=emu:noread1",
            content=iter([bytes(1024 * 1024)] * 32),
            headers={"authorization": "Token k", "content-length": str(32 << 20)},
            timeout=0.2,
        )


def test_a_gateway_page_a_broken_document_and_a_strange_one(media, wav):
    with pytest.raises(ApiError) as page:
        media.transcribe_file(request=wav(1), tag=["emu:html"])
    with pytest.raises(ApiError) as broken:
        media.transcribe_file(request=wav(1), tag=["emu:badjson"])
    strange = media.transcribe_file(request=wav(1), tag=["emu:weird"])

    assert page.value.status_code == 502
    assert page.value.body.startswith("<html>")
    assert broken.value.status_code == 200
    assert strange.metadata is None
    assert strange.unexpected is True


def test_a_dripping_answer_outlasts_every_read_timeout(emulator, wav):
    begun = time.monotonic()

    answer = emulator.http.post(
        "/v1/listen?emu_words=0&tag=emu:drip0.001",
        content=wav(1),
        headers={"authorization": "Token k"},
        timeout=0.2,
    )

    assert answer.json()["results"]["channels"]
    assert time.monotonic() - begun > 0.2


def test_a_delay_is_waited_out(media, wav):
    begun = time.monotonic()

    answer = media.transcribe_file(request=wav(1), tag=["emu:delay0.2"])

    assert answer.metadata.duration == 1
    assert time.monotonic() - begun >= 0.2


def test_a_truncated_and_an_empty_transcript_look_like_successes(emulator, media, wav):
    audio = wav(30)

    cut = media.transcribe_file(request=audio, tag=["emu:truncate"])
    empty = media.transcribe_file(request=audio, tag=["emu:empty"])

    (silence,) = empty.results.channels[0].alternatives
    assert cut.metadata.duration == 10
    assert cut.results.channels[0].alternatives[0].words[-1].end <= 10
    assert empty.metadata.duration == 30
    assert (silence.transcript, silence.words, silence.confidence) == ("", [], 0.0)
    assert [e["fault"] for e in emulator.log()] == ["truncate", "empty"]
    assert {e["outcome"] for e in emulator.log()} == {"ok"}


def test_a_tag_that_only_looks_like_a_fault_is_a_tag(media, wav):
    answer = media.transcribe_file(request=wav(1), tag=["emu:nonsense", "emu:99"])

    assert answer.metadata.tags == ["emu:nonsense", "emu:99"]


def test_a_rule_strikes_what_matches_so_many_times(emulator, media, wav):
    emulator.configure(
        rules=[
            {
                "match": {"model": "nova-2", "tag": "job:"},
                "status": 418,
                "headers": {"x-kettle": "on"},
                "body": {"short": "stout"},
                "times": 1,
            }
        ]
    )

    media.transcribe_file(request=wav(1), model="nova-3", tag=["job:1"])
    with pytest.raises(ApiError) as caught:
        media.transcribe_file(request=wav(1), model="nova-2", tag=["job:1"])
    media.transcribe_file(request=wav(1), model="nova-2", tag=["job:1"])

    assert caught.value.status_code == 418
    assert caught.value.headers["x-kettle"] == "on"
    assert caught.value.body == {"short": "stout"}
    (rule,) = emulator.http.get("/__emu__/faults").json()["rules"]
    assert rule["struck"] == 1


def test_a_rule_can_strike_every_job_once(emulator, media, wav):
    emulator.configure(rules=[{"status": 503, "times": 1, "per": "job"}])

    outcomes = [outcome_of(media, wav(1), f"job:{n % 2}") for n in range(4)]

    assert outcomes == [503, 503, 200, 200]


def test_chance_repeats_whatever_the_order(emulator, media, wav):
    def run(numbers: list[int]) -> dict[int, int]:
        emulator.reset()
        emulator.configure(rules=[{"probability": 0.5, "kind": "html"}])
        return {n: outcome_of(media, wav(1), f"job:{n}") for n in numbers}

    first = run(list(range(30)))
    again = run(list(range(29, -1, -1)))

    assert first == again
    assert 5 < list(first.values()).count(502) < 25


@pytest.mark.parametrize(
    "body",
    [
        {"rules": [{"status": 503}, {"what": 1}]},
        {"rules": [{"status": 503}, {"match": {"colour": "red"}, "status": 503}]},
        {"rules": [{"status": 503}, {"kind": "explode"}]},
        {"rules": [{"status": 503}, {}]},
        {"rules": [{"status": 503}, 7]},
        {"rules": [{"status": 503}], "config": {"concurrency": -1}},
        {"rules": [{"status": 503}], "config": {"speed": 1}},
        [],
    ],
)
def test_a_mistaken_rule_is_refused_and_nothing_is_kept(emulator, body):
    answer = emulator.http.post("/__emu__/faults", json=body)

    assert answer.status_code == 400
    assert answer.json()["error"]
    assert emulator.http.get("/__emu__/faults").json()["rules"] == []
