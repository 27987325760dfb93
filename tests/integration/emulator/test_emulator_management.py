"""The management API through the official SDK: what a ledger is reconciled with."""

import datetime

import pytest
from deepgram.core.api_error import ApiError

from tests.support.emulator_process import SIDE_KEY


@pytest.fixture
def projects(emulator):
    return emulator.client().manage.v1.projects


@pytest.fixture
def project_id(projects) -> str:
    (project,) = projects.list().projects
    return project.project_id


def test_a_key_sees_its_own_project_only(emulator, projects, project_id):
    side = emulator.client(SIDE_KEY).manage.v1.projects

    assert projects.get(project_id).name == "default"
    assert side.list().projects[0].name == "side"
    with pytest.raises(ApiError) as caught:
        side.get(project_id)
    assert caught.value.status_code == 404
    assert caught.value.body["err_code"] == "PROJECT_NOT_FOUND"


def test_a_project_id_that_is_no_uuid_is_refused_in_plain_text(projects):
    with pytest.raises(ApiError) as caught:
        projects.get("nonsense")

    assert caught.value.status_code == 404
    assert caught.value.body.startswith("UUID parsing failed: ")


def test_a_bad_key_is_refused(emulator):
    with pytest.raises(ApiError) as caught:
        emulator.client("bad-key").manage.v1.projects.list()

    assert caught.value.status_code == 401
    assert caught.value.body["err_msg"] == "Invalid credentials."


def test_requests_are_listed_with_their_tags_the_newest_first(
    emulator, projects, project_id, media, wav
):
    sent = [
        media.transcribe_file(request=wav(n), tag=[f"job:{n}"], model="nova-3")
        for n in (1, 2)
    ]
    emulator.client(SIDE_KEY).listen.v1.media.transcribe_file(request=wav(1))

    found = projects.requests.list(project_id, limit=10).requests

    assert [r.request_id for r in found] == [
        answer.metadata.request_id for answer in reversed(sent)
    ]
    details = found[0].response["details"]
    assert details["tags"] == ["job:2"]
    assert details["duration"] == 2.0
    assert found[0].path == "/v1/listen?tag=job%3A2&model=nova-3"
    assert (found[0].code, found[0].project_uuid) == (200, project_id)


def test_requests_are_filtered_and_paged(projects, project_id, media, wav):
    media.transcribe_file(request=wav(1), tag=["ok"])
    with pytest.raises(ApiError):
        media.transcribe_file(request=wav(1), tag=["emu:503"])
    now = datetime.datetime.now(datetime.UTC)

    def tags(**query) -> list[list[str]]:
        found = projects.requests.list(project_id, **query).requests
        return [request.response["details"]["tags"] for request in found]

    assert tags(status="succeeded") == [["ok"]]
    assert tags(status="failed") == [["emu:503"]]
    assert tags(limit=1, page=1) == [["ok"]]
    assert tags(method="async") == []
    assert tags(start=now + datetime.timedelta(hours=1)) == []
    assert len(tags(start=now - datetime.timedelta(hours=1), end=now)) == 2


def test_one_request_is_found_by_its_id(projects, project_id, media, wav):
    answer = media.transcribe_file(request=wav(3), tag=["job:7"])
    request_id = answer.metadata.request_id

    found = projects.requests.get(project_id, request_id).request

    assert found.request_id == request_id
    assert found.response["details"]["tags"] == ["job:7"]
    with pytest.raises(ApiError) as caught:
        projects.requests.get(project_id, "0" * 8)
    assert caught.value.status_code == 404


def test_balance_and_usage_follow_the_audio(projects, project_id, media, wav):
    media.transcribe_file(request=wav(36))

    (balance,) = projects.billing.balances.list(project_id).balances
    usage = projects.usage.get(project_id)

    assert balance.amount == pytest.approx(200 - 36 * 0.0043 / 60)
    assert balance.units == "usd"
    assert usage.resolution.units == "day"
    assert usage.results[0]["hours"] == pytest.approx(0.01)
    assert usage.results[0]["requests"] == 1


def test_the_server_says_that_it_is_healthy(emulator):
    status = emulator.http.get("/v1/status").json()
    engine = emulator.http.get("/v1/status/engine").json()

    assert status["system_health"] == "Healthy"
    assert status["active_batch_requests"] == 0
    assert engine["engine_connection_status"] == "Connected"
