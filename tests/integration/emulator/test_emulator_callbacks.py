"""Calls with a callback: accepted at once, delivered later, tried again."""

import base64


def test_the_document_comes_later_under_the_same_request_id(
    emulator, media, site, wav, eventually
):
    accepted = media.transcribe_file(
        request=wav(2), callback=f"{site.url}/done", tag=["job:1"], extra=["secret:s"]
    )

    eventually(lambda: emulator.stats()["callbacks"]["delivered"])
    (received,) = site.received
    metadata = received["body"]["metadata"]
    assert received["method"] == "POST"
    assert accepted.request_id == metadata["request_id"]
    assert (metadata["duration"], metadata["tags"]) == (2.0, ["job:1"])
    assert metadata["extra"] == {"secret": "s"}


def test_a_refused_callback_is_tried_again_with_its_password(
    emulator, media, site, wav, eventually
):
    before = emulator.stats()["callbacks"]["delivered"]
    site.refusals[:] = [500, 302]
    url = site.url.replace("http://", "http://user:pass@") + "/cb"

    media.transcribe_file(request=wav(1), callback=url, callback_method="PUT")

    eventually(lambda: emulator.stats()["callbacks"]["delivered"] > before)
    secret = base64.b64encode(b"user:pass").decode()
    assert [r["authorization"] for r in site.received] == [f"Basic {secret}"] * 3
    assert {r["method"] for r in site.received} == {"PUT"}
    (entry,) = emulator.log()
    assert (entry["callback_attempts"], entry["callback_status"]) == (3, 200)


def test_after_the_last_try_the_result_is_lost(emulator, media, site, wav, eventually):
    before = emulator.stats()["callbacks"]["lost"]
    site.refusals[:] = [500] * 10

    media.transcribe_file(request=wav(1), callback=f"{site.url}/cb")

    eventually(lambda: emulator.stats()["callbacks"]["lost"] > before)
    assert len(site.received) == 3


def test_a_failed_call_delivers_its_error(emulator, media, site, eventually):
    media.transcribe_url(url=f"{site.url}/missing.wav", callback=f"{site.url}/cb")

    eventually(lambda: site.received)
    (received,) = site.received
    assert received["body"]["err_code"] == "REMOTE_CONTENT_ERROR"
    eventually(lambda: emulator.log()[0]["outcome"] == "error")


def test_the_place_is_held_until_the_document_is_made(
    emulator, media, site, wav, eventually
):
    emulator.configure(config={"latency_base": 0.2})

    media.transcribe_file(request=wav(1), callback=f"{site.url}/cb")

    assert emulator.stats()["in_flight"] == 1
    assert emulator.log()[0]["finished_at"] is None
    eventually(lambda: emulator.stats()["in_flight"] == 0)
    eventually(lambda: site.received)
