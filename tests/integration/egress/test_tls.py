"""A receiver's certificate is checked as a browser would, whoever runs it."""

import socket

import pytest

from tests.support.certificates import new_authority, self_signed
from workers.webhooks.delivery import transport


@pytest.fixture(autouse=True)
def _every_name_is_loopback(settings, monkeypatch) -> None:
    def look_up(_name, port, *_arguments, **_options):
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    settings.EGRESS_ALLOW = ["hooks.example"]


def post_to(receiver) -> transport.PostResult:
    url = f"https://hooks.example:{receiver.port}/hook"
    return transport.post(url, headers={}, body=b"{}")


def test_a_good_certificate_is_taken(listen, authority):
    receiver = listen(tls=authority.server("hooks.example"))

    assert post_to(receiver).status_code == 200
    assert len(receiver.received) == 1


def test_an_expired_one_is_refused(listen, authority):
    receiver = listen(tls=authority.server("hooks.example", ended_days_ago=1))

    assert post_to(receiver).error == "tls_failed"
    assert receiver.received == []


def test_one_for_another_name_is_refused(listen, authority):
    receiver = listen(tls=authority.server("other.example"))

    assert post_to(receiver).error == "tls_failed"
    assert receiver.received == []


def test_a_self_signed_one_is_refused(listen, tmp_path):
    receiver = listen(tls=self_signed(tmp_path, "hooks.example"))

    assert post_to(receiver).error == "tls_failed"
    assert receiver.received == []


def test_one_of_an_authority_that_nobody_knows_is_refused(listen, tmp_path):
    receiver = listen(tls=new_authority(tmp_path).server("hooks.example"))

    assert post_to(receiver).error == "tls_failed"
    assert receiver.received == []
