"""Web pages of listed origins: REST, event streams and sockets of a real process."""

import asyncio
from collections.abc import Iterator

import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from tests.support.asgi_process import AsgiProcess
from tests.support.factories import make_key

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.xdist_group("asgi"),
]
PAGE, OTHER = "https://app.example.com", "https://evil.example.com"
ALLOW = "access-control-allow-origin"


@pytest.fixture(scope="module")
def process(
    django_db_setup: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[AsgiProcess]:
    started = AsgiProcess(tmp_path_factory.mktemp("cors"), ALLOWED_ORIGINS=PAGE)
    yield started.wait()
    started.stop()


@pytest.fixture
def http(process: AsgiProcess) -> Iterator[httpx.Client]:
    url = f"http://127.0.0.1:{process.port}"
    with httpx.Client(base_url=url, trust_env=False, timeout=30) as client:
        yield client


def authorize(origin):
    return {"Authorization": f"Bearer {make_key()[1]}", "Origin": origin}


@pytest.mark.parametrize("path", ["/v1/jobs", "/v1/listen", "/v1/auth/grant"])
def test_a_listed_page_may_ask_and_send(http, path):
    wanted = {
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization,content-type,idempotency-key",
    }

    answer = http.options(path, headers={"Origin": PAGE, **wanted})

    assert answer.status_code == 200
    assert answer.headers[ALLOW] == PAGE
    allowed = set(answer.headers["access-control-allow-headers"].split(", "))
    assert {"authorization", "content-type", "idempotency-key"} <= allowed
    assert "access-control-allow-credentials" not in answer.headers


@pytest.mark.parametrize(("path", "status"), [("/v1/me", 200), ("/v1/nope", 404)])
def test_a_listed_page_reads_responses_and_errors(http, path, status):
    answer = http.get(path, headers=authorize(PAGE))

    assert (answer.status_code, answer.headers[ALLOW]) == (status, PAGE)
    assert "dg-request-id" in answer.headers["access-control-expose-headers"]
    assert "origin" in answer.headers["vary"].lower()


def test_a_listed_page_reads_event_streams(http):
    with http.stream("GET", "/v1/events", headers=authorize(PAGE)) as answer:
        assert (answer.status_code, answer.headers[ALLOW]) == (200, PAGE)


@pytest.mark.parametrize("origin", [OTHER, "null", f"{PAGE}.evil.example", PAGE[:-1]])
def test_another_page_reads_nothing(http, origin):
    answer = http.get("/v1/me", headers=authorize(origin))
    preflight = http.options(
        "/v1/jobs", headers={"Origin": origin, "Access-Control-Request-Method": "POST"}
    )

    assert ALLOW not in answer.headers
    assert ALLOW not in preflight.headers


def test_pages_outside_the_api_allow_none(http):
    answer = http.get("/health/live", headers={"Origin": PAGE})

    assert ALLOW not in answer.headers


@pytest.mark.parametrize(("origin", "status"), [(PAGE, {429, 503}), (OTHER, {403})])
def test_the_same_list_decides_about_sockets(process, origin, status):
    """Without a region a listed page gets as far as the choice of one."""
    url = f"ws://127.0.0.1:{process.port}/v1/listen?encoding=linear16&sample_rate=16000"
    key = {"Authorization": f"Token {make_key()[1]}"}

    async def refused() -> int:
        with pytest.raises(InvalidStatus) as raised:
            async with connect(url, additional_headers=key, origin=origin, proxy=None):
                pass
        return int(raised.value.response.status_code)

    assert asyncio.run(refused()) in status


def test_cors_is_off_by_default(client):
    answer = client.get("/v1/me", headers=authorize(PAGE))

    assert answer.status_code == 200
    assert ALLOW not in answer.headers
