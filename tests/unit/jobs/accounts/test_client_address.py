from ipaddress import ip_address

import pytest
from django.core.handlers.asgi import ASGIRequest
from django.test import RequestFactory

from jobs.accounts.client_address import client_address

PROXIES = ["10.0.0.0/8", "2001:db8:ffff::/48"]


def find_client(peer, forwarded=None):
    more = {} if forwarded is None else {"HTTP_X_FORWARDED_FOR": forwarded}
    return client_address(RequestFactory().get("/", REMOTE_ADDR=peer, **more))


def found(text):
    return None if text is None else ip_address(text)


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        ("192.0.2.1", None, "192.0.2.1"),
        ("2001:db8::1", None, "2001:db8::1"),
        ("::ffff:192.0.2.1", None, "192.0.2.1"),
        ("", None, None),
        ("unix:", None, None),
        # Nobody we know speaks for others.
        ("192.0.2.1", "198.51.100.7", "192.0.2.1"),
        # A proxy of ours does, and only for the hop it saw.
        ("10.0.0.1", "198.51.100.7", "198.51.100.7"),
        ("::ffff:10.0.0.1", "198.51.100.7", "198.51.100.7"),
        ("10.0.0.1", "203.0.113.9, 198.51.100.7", "198.51.100.7"),
        ("10.0.0.1", "203.0.113.9,198.51.100.7 , 10.1.2.3", "198.51.100.7"),
        ("10.0.0.1", "10.9.9.9, 198.51.100.7", "198.51.100.7"),
        ("10.0.0.1", "::ffff:198.51.100.7", "198.51.100.7"),
        ("10.0.0.1", "198.51.100.7:4711", "198.51.100.7"),
        ("10.0.0.1", "[2001:db8::5]:4711", "2001:db8::5"),
        ("10.0.0.1", "[2001:db8::5]", "2001:db8::5"),
        ("2001:db8:ffff::1", "2001:db8::5", "2001:db8::5"),
        # A call from within, or from the proxy itself.
        ("10.0.0.1", None, "10.0.0.1"),
        ("10.0.0.1", "10.2.0.1, 10.1.0.1", "10.2.0.1"),
        # What cannot be read tells nobody's address, whatever stands around it.
        ("10.0.0.1", "unknown", None),
        ("10.0.0.1", "198.51.100.7, unknown", None),
        ("10.0.0.1", "198.51.100.7,", None),
        ("10.0.0.1", "198.51.100.7, 10.1.0.1:http", None),
        ("10.0.0.1", "0300.0.2.1", None),
        ("10.0.0.1", "unknown, 198.51.100.7", "198.51.100.7"),
    ],
)
def test_the_client_is_the_last_hop_that_is_no_proxy_of_ours(
    settings, peer, forwarded, client
):
    settings.TRUSTED_PROXIES = PROXIES

    assert find_client(peer, forwarded) == found(client)


@pytest.mark.parametrize("peer", ["10.0.0.1", "127.0.0.1", "192.0.2.1"])
def test_without_trusted_proxies_the_header_is_not_read(settings, peer):
    settings.TRUSTED_PROXIES = []

    assert find_client(peer, "198.51.100.7") == ip_address(peer)


def test_over_asgi_it_is_the_same(settings):
    settings.TRUSTED_PROXIES = PROXIES
    scope = {
        "type": "http",
        "method": "GET",
        "path": "/",
        "client": ("10.0.0.1", 4711),
        # Each proxy may add a line of its own; one with underscores is nobody's.
        "headers": [
            (b"x-forwarded-for", b"203.0.113.9"),
            (b"x-forwarded-for", b"198.51.100.7"),
            (b"x_forwarded_for", b"192.0.2.66"),
        ],
    }

    assert client_address(ASGIRequest(scope, None)) == ip_address("198.51.100.7")


def test_over_a_unix_socket_nobody_knows(settings):
    scope = {"type": "http", "method": "GET", "path": "/", "headers": []}

    assert client_address(ASGIRequest(scope, None)) is None
