"""The operator's own way out: a CONNECT proxy that names and checks for us."""

import socket
import time

import pytest

from tests.support.connect_proxy import proxying
from tests.support.webhook_receiver import Reply
from workers.webhooks.delivery import transport

REFUSED = transport.PostResult(error="destination_not_allowed")


@pytest.fixture(autouse=True)
def asked(settings, monkeypatch) -> list[str]:
    """Return the names that this machine was asked for, which knows none."""
    names: list[str] = []
    real = socket.getaddrinfo

    def look_up(name, *args, **options):
        text = name.decode() if isinstance(name, bytes) else name
        if not text[0].isdigit():
            names.append(text)
            raise socket.gaierror(socket.EAI_NONAME, "not known")
        return real(name, *args, **options)

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    settings.WEBHOOK_SCHEMES = ["https", "http"]
    settings.WEBHOOK_TIMEOUT_SECONDS = 2
    return names


def post(url: str) -> transport.PostResult:
    return transport.post(url, headers={"webhook-id": "msg_1"}, body=b"{}")


def test_plain_http_goes_through_a_tunnel_and_the_proxy_looks_the_name_up(
    listen, settings, asked
):
    receiver = listen(Reply(status=204))
    with proxying({"hooks.example:80": receiver.port}) as proxy:
        settings.EGRESS_PROXY = proxy.url
        answers = [post("http://hooks.example/hook"), post("http://hooks.example/hook")]
        transport.close()

    assert [each.status_code for each in answers] == [204, 204]
    assert proxy.asked == ["hooks.example:80"]  # the tunnel was kept
    (first, _) = receiver.received
    assert (first.method, first.path) == ("POST", "/hook")
    assert first.headers["host"] == "hooks.example"
    assert asked == []


def test_the_certificate_in_the_tunnel_is_the_receivers(listen, settings, authority):
    good = listen(tls=authority.server("hooks.example"))
    names = {"hooks.example:443": good.port, "other.example:8443": good.port}
    with proxying(names) as proxy:
        settings.EGRESS_PROXY = proxy.url
        answers = [post("https://hooks.example/"), post("https://other.example:8443/")]
        transport.close()

    assert [each.status_code or each.error for each in answers] == [200, "tls_failed"]
    assert proxy.asked == list(names)
    assert len(good.received) == 1


@pytest.mark.parametrize(
    "url",
    ["https://10.0.0.7/", "https://[::1]/", "https://redis/", "https://a.example:22/"],
)
def test_the_rule_for_urls_holds_before_the_proxy_is_asked(listen, settings, url):
    proxy = listen()
    settings.EGRESS_PROXY = f"http://127.0.0.1:{proxy.port}"

    assert post(url) == REFUSED
    assert proxy.connections == 0


def test_what_the_operator_listed_is_reached_directly(listen, settings):
    proxy, receiver = listen(), listen()
    settings.EGRESS_PROXY = f"http://127.0.0.1:{proxy.port}"
    settings.EGRESS_ALLOW = [f"127.0.0.1:{receiver.port}"]

    assert post(receiver.url).status_code == 200
    assert proxy.connections == 0


@pytest.mark.parametrize("status", [403, 407])
def test_what_the_proxy_refuses_reads_as_what_we_refuse(listen, settings, status):
    proxy = listen(Reply(status=status, headers={"x-why": "10.0.0.7 is private"}))
    settings.EGRESS_PROXY = f"http://127.0.0.1:{proxy.port}"

    assert post("https://hooks.example/") == REFUSED
    assert [each.method for each in proxy.received] == ["CONNECT"]


def test_what_the_proxy_cannot_reach_is_the_receivers_failure(listen, settings):
    proxy = listen(Reply(status=502))
    settings.EGRESS_PROXY = f"http://127.0.0.1:{proxy.port}"

    assert post("https://hooks.example/").error == "connect_failed"


@pytest.mark.parametrize(
    "reply",
    [
        Reply(hang_up=True),
        Reply(reset="before"),
        Reply(raw=b"220 smtp.example ESMTP\r\n\r\n"),
        Reply(raw=b"HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 200 OK\r\n\r\n"),
        Reply(status=302, headers={"location": "http://10.0.0.7/"}),
        Reply(headers={"x": "x" * 200_000}),
    ],
    ids=["hang up", "reset", "not HTTP", "speaks first", "redirects", "huge head"],
)
def test_a_proxy_that_is_none_is_the_operators_failure(listen, settings, caplog, reply):
    proxy = listen(reply)
    settings.EGRESS_PROXY = f"http://127.0.0.1:{proxy.port}"

    assert post("http://hooks.example/").error == "egress_proxy_failed"
    assert proxy.connections == 1
    assert [each.message for each in caplog.records] == ["The egress proxy failed"]


def test_a_proxy_that_is_away_is_the_operators_failure(settings, caplog):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    settings.EGRESS_PROXY = f"http://127.0.0.1:{port}"

    assert post("http://hooks.example/").error == "egress_proxy_failed"
    assert [each.message for each in caplog.records] == ["The egress proxy failed"]


@pytest.mark.parametrize(
    "reply",
    [
        Reply(delay=30),
        Reply(head_drip=0.05, headers={"x": "x" * 2000}),
        Reply(raw=b"HTTP/1.1 100 Continue\r\n\r\n" * 400_000),
    ],
    ids=["silent", "dripping", "flood of 1xx"],
)
def test_a_slow_proxy_is_under_the_total_deadline(listen, settings, reply):
    settings.WEBHOOK_TIMEOUT_SECONDS = 0.4
    proxy = listen(reply)
    settings.EGRESS_PROXY = f"http://127.0.0.1:{proxy.port}"
    began = time.monotonic()

    assert post("http://hooks.example/").error == "timeout"
    assert 0.4 <= time.monotonic() - began < 3


def test_a_slow_receiver_behind_the_proxy_is_under_the_total_deadline(listen, settings):
    settings.WEBHOOK_TIMEOUT_SECONDS = 0.4
    receiver = listen(Reply(head_drip=0.05, headers={"x": "x" * 2000}))
    with proxying({"hooks.example:80": receiver.port}) as proxy:
        settings.EGRESS_PROXY = proxy.url
        began = time.monotonic()
        answer = post("http://hooks.example/")
        transport.close()

    assert answer.error == "timeout"
    assert 0.4 <= time.monotonic() - began < 3
