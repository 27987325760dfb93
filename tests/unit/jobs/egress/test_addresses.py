from ipaddress import ip_address

import pytest

from jobs.egress.addresses import EgressAllow, EgressProxy, Origin, check_url, is_public
from jobs.errors import InvalidRequest

NOBODY = EgressAllow.parse([])
WEB = ("http", "https")

PRIVATE = """
0.0.0.0 0.1.2.3 10.0.0.1 10.255.255.255 100.64.0.7 100.100.100.200 127.0.0.1
127.255.255.254 168.63.129.16 169.254.169.254 172.16.0.1 172.31.255.255 192.0.0.8
192.0.0.192 192.0.2.1 192.88.99.1 192.168.0.1 198.18.0.1 198.19.255.255 198.51.100.1
203.0.113.1 224.0.0.1 239.255.255.255 240.0.0.1 255.255.255.255
:: ::1 ::127.0.0.1 ::ffff:127.0.0.1 ::ffff:7f00:1 ::ffff:10.0.0.1 ::ffff:0:8.8.8.8
64:ff9b::7f00:1 64:ff9b::808:808 64:ff9b:1::1 100::1 2001::1 2001:db8::1 2001:10::1
2002:7f00:1::1 2002:808:808::1 2620:4f:8000::1 3fff::1 4000::1 5f00::1 fc00::1
fd00:ec2::254 fe80::1 fe80::1%eth0 2606:4700::1%eth0 fec0::5 ff02::1
"""
PUBLIC = """
1.1.1.1 8.8.8.8 9.255.255.255 11.0.0.0 100.63.255.255 100.128.0.0 126.255.255.255
128.0.0.1 169.253.255.255 172.15.255.255 172.32.0.0 192.0.1.1 192.167.255.255
198.17.255.255 198.20.0.0 223.255.255.255 ::ffff:8.8.8.8
2001:200::1 2001:4860:4860::8888 2003::1 2606:4700:4700::1111 2a00:1450::1
"""


@pytest.mark.parametrize("text", PRIVATE.split())
def test_an_address_that_leads_inside_is_not_public(text: str) -> None:
    assert is_public(ip_address(text)) is False


@pytest.mark.parametrize("text", PUBLIC.split())
def test_an_address_on_the_internet_is_public(text: str) -> None:
    assert is_public(ip_address(text)) is True


INSIDE = """
http://127.0.0.1/ http://127.1/ http://2130706433/ http://0x7f000001/ http://0x7F.1/
http://0177.0.0.1/ http://0/ http://0.0.0.0/ http://00000000000/ http://0x/
http://127.0.0.1./ http://foo.0x7f/ http://foo.1/ http://8.8.8.08/ http://134744072/
http://[::1]/ http://[::]/ http://[::ffff:127.0.0.1]/ http://[::ffff:7f00:1]/
http://[::127.0.0.1]/ http://[64:ff9b::7f00:1]/ http://[64:ff9b:1::1]/
http://[2002:7f00:1::1]/ http://[2001::1]/ http://[fec0::5]/ http://[fd00:ec2::254]/
http://[fe80::1]/ http://169.254.169.254/latest http://100.64.0.7/ http://10.0.0.1/
http://172.16.0.1/ http://192.168.1.1/ http://198.18.0.1/ http://192.0.0.192/
http://224.0.0.1/ http://255.255.255.255/
http://localhost/ http://LOCALHOST/ http://localhost./ http://a.localhost/
http://redis/ http://postgres:443/ http://rabbitmq/ http://printer.local/
http://metadata.google.internal/ http://METADATA.google.INTERNAL./ http://x.invalid/
http://router.home.arpa/ http://abc.onion/
http://pub.test:22/ http://pub.test:25/ http://pub.test:6379/ http://pub.test:81/
ftp://pub.test/ gopher://pub.test:443/ ws://pub.test:443/
"""


@pytest.mark.parametrize("url", INSIDE.split())
def test_a_url_that_leads_inside_is_refused_in_every_notation(url: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        check_url(url, allow=NOBODY, schemes=WEB, pointer="/audio_url")

    assert caught.value.code == "url_not_allowed"
    assert caught.value.pointer == "/audio_url"


def test_every_refused_place_reads_the_same() -> None:
    def sentence(url: str) -> str:
        with pytest.raises(InvalidRequest) as caught:
            check_url(url, allow=NOBODY, schemes=WEB)
        return caught.value.message

    assert len({sentence(url) for url in INSIDE.split()}) == 1


MALFORMED = [
    "",
    "pub.test/a.wav",
    "http:pub.test",
    "http:///a.wav",
    "http://",
    "https://?x",
    "file:///etc/passwd",
    "javascript:alert(1)",
    "http://user@pub.test/",
    "http://user:secret@pub.test/",
    "http://pub.test@127.0.0.1/",
    "http://pub.test\\@127.0.0.1/",
    "http://pub.test/\\evil",
    "http://127.0.0.1#@pub.test/",
    "http://pub.test/a#b",
    "http://pub.test%00.evil.test/",
    "http://%31%32%37.0.0.1/",
    "http://pub.test/\r\nHost: x",
    "http://pub.test/\t",
    "http://pub .test/",
    " http://pub.test/",
    "http://pub.test/ ",
    "http://pub.test/\n",
    "http://pub.test/\x00",
    "http://pub.test/\x7f",
    "http://\uff11\uff12\uff17.0.0.1/",
    "http://\u2460\u2461\u2466.0.0.1/",
    "http://bücher.test/",
    "http://pub.test/ü",
    "http://pub.test:0/",
    "http://pub.test:65536/",
    "http://pub.test:99999999999/",
    "http://pub.test:/",
    "http://pub.test:8o/",
    "http://pub.test:-1/",
    "http://pub..test/",
    "http://.pub.test/",
    "http://-pub.test/",
    "http://pub-.test/",
    "http://pub.test../",
    "http://" + "a" * 64 + ".test/",
    "http://" + "a." * 130 + "test/",
    "http://[::1/",
    "http://[::1%25lo]/",
    "http://[fe80::1%lo]/",
    "http://[:::1]/",
    "http://[127.0.0.1]x/",
    "http://[127.0.0.1]/",
    "http://[8.8.8.8]/",
    "http://[]/",
    "http://pub.test/" + "a" * 8192,
]


@pytest.mark.parametrize("url", MALFORMED)
def test_what_two_parsers_could_read_differently_is_no_url(url: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        check_url(url, allow=NOBODY, schemes=WEB)

    assert caught.value.code == "url_invalid"


@pytest.mark.parametrize(
    ("url", "scheme", "host", "port"),
    [
        ("https://cdn.example.com/a.wav", "https", "cdn.example.com", 443),
        ("http://cdn.example.com", "http", "cdn.example.com", 80),
        ("HTTPS://CDN.Example.com.:8443?sig=a%2Fb", "https", "cdn.example.com", 8443),
        ("http://8.8.8.8:8080/~a/b;c=[d]|e", "http", "8.8.8.8", 8080),
        ("https://[2606:4700::1111]/", "https", "2606:4700::1111", 443),
        (
            "https://my_bucket.s3.amazonaws.com/k",
            "https",
            "my_bucket.s3.amazonaws.com",
            443,
        ),
        ("https://xn--bcher-kva.example/", "https", "xn--bcher-kva.example", 443),
        ("https://pub.test/" + "a" * 2031, "https", "pub.test", 443),
    ],
)
def test_a_public_url_says_where_it_points(
    url: str, scheme: str, host: str, port: int
) -> None:
    origin = check_url(url, allow=NOBODY, schemes=WEB)

    assert origin == Origin(scheme=scheme, host=host, port=port)


def test_plain_http_is_refused_where_only_https_is_taken() -> None:
    with pytest.raises(InvalidRequest, match="use https, a public host"):
        check_url("http://pub.test/", allow=NOBODY, schemes=["https"])


LISTED = EgressAllow.parse(
    [
        "hooks.corp",
        "Build.Corp.:9000",
        "10.1.0.0/16",
        "127.0.0.1:8123",
        "[::1]:7",
        "fd00::/8",
    ]
)


@pytest.mark.parametrize(
    ("host", "port", "allowed"),
    [
        ("hooks.corp", 1, True),
        ("HOOKS.corp.", 6379, True),
        ("x.hooks.corp", 443, False),
        ("hooks.corp.evil.test", 443, False),
        ("build.corp", 9000, True),
        ("build.corp", 9001, False),
        ("10.1.2.3", 5, True),
        ("10.2.0.1", 443, False),
        ("127.0.0.1", 8123, True),
        ("127.0.0.1", 8124, False),
        ("::1", 7, True),
        ("::1", 8, False),
        ("fd00::9", 443, True),
        ("2130706433", 8123, False),
    ],
)
def test_only_what_the_operator_listed_is_allowed(
    host: str, port: int, allowed: bool
) -> None:
    assert LISTED.allows_host(host, port) is allowed


def test_a_mapped_address_is_judged_as_the_address_it_maps() -> None:
    assert LISTED.allows_ip(ip_address("::ffff:10.1.2.3"), 443) is True
    assert LISTED.allows_ip(ip_address("::ffff:10.2.2.3"), 443) is False


def test_a_listed_receiver_may_use_any_port_and_plain_http() -> None:
    url = "http://127.0.0.1:8123/hook"

    assert check_url(url, allow=LISTED, schemes=["https"]).port == 8123


def test_a_listed_receiver_is_still_reached_by_http_only() -> None:
    with pytest.raises(InvalidRequest):
        check_url("gopher://hooks.corp:443/", allow=LISTED, schemes=WEB)


@pytest.mark.parametrize(
    "entry",
    ["", "a b", "host:", "host:0", "host:65536", "10.0.0.1/8", "x/8", "*", "::1:x"],
)
def test_an_unreadable_exception_is_named(entry: str) -> None:
    with pytest.raises(ValueError, match=repr(entry).replace("*", r"\*")):
        EgressAllow.parse([entry])


@pytest.mark.parametrize(
    ("url", "host", "port"),
    [
        ("http://smokescreen:4750", "smokescreen", 4750),
        ("http://10.0.0.4:4750/", "10.0.0.4", 4750),
        ("http://[fd00::4]:80", "fd00::4", 80),
    ],
)
def test_an_egress_proxy_is_a_host_and_a_port(url: str, host: str, port: int) -> None:
    assert EgressProxy.parse(url) == EgressProxy(host=host, port=port)


def test_no_egress_proxy_is_none() -> None:
    assert EgressProxy.parse("") is None


@pytest.mark.parametrize(
    "url",
    [
        "smokescreen:4750",
        "http://smokescreen",
        "https://smokescreen:4750",
        "socks5://smokescreen:1080",
        "http://user:password@smokescreen:4750",
        "http://smokescreen:4750/path",
        "http://smokescreen:4750?x",
        "http://smokescreen:0",
        "http://smokescreen:4750 ",
    ],
)
def test_what_is_no_egress_proxy_is_refused_with_a_sentence(url: str) -> None:
    with pytest.raises(ValueError, match=r"is http://host:port, without a password"):
        EgressProxy.parse(url)
