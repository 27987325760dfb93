"""Every URL that the guard is tried with, and what must come of it.

``create`` is what the rule for submitted URLs says, ``send`` what the POST ends with;
``reaches`` is every place that a connection may be tried to. For all but a few that is
none at all.
"""

from dataclasses import dataclass
from ipaddress import ip_address
from urllib.parse import quote

REFUSED = "destination_not_allowed"
INVALID = "url_invalid"
UNKNOWN = "name_not_resolved"
NOT_ALLOWED = "url_not_allowed"
TAKEN = ""

PUBLIC_V4, PUBLIC_V6 = "93.184.215.14", "2606:4700:4700::1111"
# Addresses of our own machine that anybody could have: what listens here is inside.
OWN_V4, OWN_V6 = "203.0.112.5", "2a00:1450::5"
# Outside answers on these ports, of every address but one that says nothing.
LISTENING = (22, 25, 80, 443, 3128, 6379, 8080, 8123)
CLOSED = 8443
SILENT = "10.66.0.1"
PROXY = "http://10.0.0.66:3128"
ALLOWED = "10.20.0.0/16,hooks.corp.example:8123"
SEARCH = "corp.example"
HOSTS = "127.0.0.1 localhost\n127.0.1.1 platform.corp.example platform\n"

INSIDE_V4 = """
127.0.0.1 127.0.0.53 127.255.255.254 0.0.0.0 10.0.0.7 172.16.0.7 172.31.255.7
192.168.0.7 100.64.0.7 100.100.100.200 169.254.169.254 168.63.129.16 198.18.0.7
198.19.255.7 192.0.0.8 192.0.0.192 192.0.2.7 198.51.100.1 203.0.113.7 192.88.99.7
224.0.0.1 240.0.0.1 255.255.255.255
"""
INSIDE_V6 = """
:: ::1 ::127.0.0.1 ::ffff:127.0.0.1 ::ffff:10.0.0.7 ::ffff:169.254.169.254
64:ff9b::7f00:1 64:ff9b::a00:7 64:ff9b:1::1 100::1 2001::1 2001:db8::7 2002:7f00:1::1
2002:a00:7::1 2620:4f:8000::7 3fff::7 5f00::7 fc00::7 fd00:ec2::254 fe80::1 fec0::5
ff02::1
"""
HOSTILE = [*INSIDE_V4.split(), *INSIDE_V6.split()]
OWN = [OWN_V4, OWN_V6]

DISGUISED = """
127.1 2130706433 0x7f000001 0x7F.1 0177.0.0.1 0 00000000000 0x 127.0.0.1. foo.0x7f
167772167 012.0.0.7 2852039166 0xa9fea9fe localhost LOCALHOST localhost. a.localhost
redis postgres rabbitmq platform printer.local metadata.google.internal
METADATA.google.INTERNAL. router.home.arpa x.onion
"""
MALFORMED = [
    "http://user@pub.example/",
    "http://user:password@pub.example/",
    "http://pub.example@127.0.0.1/",
    "http://pub.example\\@127.0.0.1/",
    "http://127.0.0.1\\@pub.example/",
    "http://127.0.0.1#@pub.example/",
    "http://pub.example#@127.0.0.1/",
    "http://127.0.0.1%00.pub.example/",
    "http://pub.example%00/",
    "http://%31%32%37.0.0.1/",
    "http://pub.example%2f@127.0.0.1/",
    "http://pub.example/\r\nHost: 127.0.0.1",
    "http://127.0.0.1\r\n.pub.example/",
    "http://pub.example\t@127.0.0.1/",
    "http://127.0.0.1\t/",
    "http://pub.example /",
    " http://127.0.0.1/",
    "http://127.0.0.1 /",
    "http://pub.example/\x00",
    "http:127.0.0.1/",
    "http:///127.0.0.1/",
    "http://\uff11\uff12\uff17.0.0.1/",
    "http://\u2460\u2461\u2466.0.0.1/",
    "http://127\u30020\u30020\u30021/",
    "http://\uff4c\uff4f\uff43\uff41\uff4chost/",
    "http://b\u00fccher.example/",
    "http://pub.example:0/",
    "http://pub.example:65536/",
    "http://pub.example:80:443/",
    "http://[fe80::1%25lo]/",
    "http://[fe80::1%inside]/",
    "http://[::1/",
    "http://[127.0.0.1]/x@pub.example:0/",
    "//127.0.0.1/",
    "file:///etc/passwd",
    "",
]
ODD = [
    *(f"http://{PUBLIC_V4}:{port}/" for port in (1, 22, 25, 81, 3128, 6379, 65535)),
    *(f"http://pub.example:{port}/" for port in (22, 25, 6379)),
    "gopher://pub.example:80/_x",
    "ftp://pub.example/",
    "ws://pub.example:80/",
]
TARGETS = [f"http://{each}/" for each in INSIDE_V4.split()]
TARGETS += [f"http://[{each}]/" for each in INSIDE_V6.split()]
TARGETS += ["http://localhost:6379/", "http://redis/", "//10.0.0.7/"]
TARGETS += [
    "file:///etc/passwd",
    "gopher://10.0.0.7:6379/_FLUSHALL",
    "http://n0.example/",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One URL, posted to so many times; ``send`` has the end of each."""

    id: str
    url: str
    create: str
    send: tuple[str | int, ...]
    reaches: frozenset[tuple[str, int]] = frozenset()
    seconds: float = 5

    @property
    def posts(self) -> int:
        return len(self.send)


def _type(address: str) -> str:
    return "A" if ip_address(address).version == 4 else "AAAA"


def _answers(*addresses: str) -> dict[str, list[list[str]]]:
    """Answer every look-up with the same addresses."""
    found: dict[str, list[list[str]]] = {}
    for each in addresses:
        found.setdefault(_type(each), [[]])[0].append(each)
    return found


ZONE = {
    "pub.example": _answers(PUBLIC_V4),
    "pub6.example": _answers(PUBLIC_V6),
    "dual.example": _answers(PUBLIC_V4, PUBLIC_V6),
    "alias.example": {"CNAME": [["pub.example"]]},
    "alias-in.example": {"CNAME": [["n0.example"]]},
    "alias-meta.example": {"CNAME": [["metadata.example"]]},
    "metadata.example": _answers("169.254.169.254"),
    "turning.example": {"A": [[PUBLIC_V4], ["10.0.0.7"]]},
    "turning6.example": {"AAAA": [[PUBLIC_V6], ["::1"]]},
    "turning-own.example": {"A": [[PUBLIC_V4], [OWN_V4]]},
    "empty.example": {},
    "broken.example": {"SERVFAIL": [[]]},
    "hanging.example": {"HANG": [[]]},
    "silent.example": _answers(SILENT),
    "allowed.example": _answers("10.20.0.1"),
    "allowed-and-not.example": _answers("10.20.0.1", "10.21.0.1"),
    "hooks.corp.example": _answers("10.30.0.1"),
    # What the machine's search domain would make of a customer's name.
    "build.prod.corp.example": _answers(PUBLIC_V4),
    **{f"n{index}.example": _answers(each) for index, each in enumerate(HOSTILE)},
    **{f"m{index}.example": _answers(PUBLIC_V4, PUBLIC_V6, each)
       for index, each in enumerate([*HOSTILE, *OWN])},
    **{f"o{index}.example": _answers(each) for index, each in enumerate(OWN)},
}  # fmt: skip


def _refused(id: str, url: str, *, create: str = NOT_ALLOWED) -> Case:  # noqa: A002
    return Case(id=id, url=url, create=create, send=(REFUSED,))


def _host(address: str) -> str:
    return f"[{address}]" if ":" in address else address


REDIRECTS = [
    Case(
        id=f"redirect {status} to {target}",
        url=f"http://pub.example/?status={status}&to={quote(target, safe='')}",
        create=TAKEN,
        send=(status,),
        reaches=frozenset({(PUBLIC_V4, 80)}),
    )
    for target in TARGETS
    for status in (301, 302, 303, 307, 308)
]


def _reached(name: str, address: str, port: int = 80, *, create: str = TAKEN) -> Case:
    return Case(
        id=f"reached {name}",
        url=f"http://{name}/",
        create=create,
        send=(200,),
        reaches=frozenset({(address, port)}),
    )


CONTROLS = [
    _reached("pub.example", PUBLIC_V4),
    _reached("pub.example.", PUBLIC_V4),
    _reached("PUB.example:8080", PUBLIC_V4, 8080),
    _reached("pub6.example", PUBLIC_V6),
    _reached("alias.example", PUBLIC_V4),
    _reached(PUBLIC_V4, PUBLIC_V4),
    _reached(f"[{PUBLIC_V6}]", PUBLIC_V6),
    _reached(f"[::ffff:{PUBLIC_V4}]", PUBLIC_V4),
]
LISTED = [
    _reached("10.20.0.1", "10.20.0.1"),
    _reached("10.20.0.1:6379", "10.20.0.1", 6379),
    _reached("allowed.example", "10.20.0.1"),
    _reached("hooks.corp.example:8123", "10.30.0.1", 8123),
]
PORTS = [
    *(_refused(f"open {port}", f"http://10.0.0.7:{port}/") for port in (80, 443, 8080)),
    _refused("closed", f"http://10.0.0.7:{CLOSED}/"),
    _refused("blocked", f"http://{SILENT}/"),
    _refused("open by name", "http://n4.example/", create=TAKEN),
    _refused("closed by name", f"http://n4.example:{CLOSED}/", create=TAKEN),
    _refused("blocked by name", "http://silent.example/", create=TAKEN),
]
NAMES = [
    *(
        _refused(f"name of {each}", f"http://n{index}.example/", create=TAKEN)
        for index, each in enumerate(HOSTILE)
    ),
    *(
        _refused(f"public and {each}", f"http://m{index}.example/", create=TAKEN)
        for index, each in enumerate([*HOSTILE, *OWN])
    ),
    *(
        _refused(f"name of our own {each}", f"http://o{index}.example/", create=TAKEN)
        for index, each in enumerate(OWN)
    ),
    _refused("alias of an inside name", "http://alias-in.example/", create=TAKEN),
    _refused("alias of metadata", "http://alias-meta.example/", create=TAKEN),
    _refused("one listed, one not", "http://allowed-and-not.example/", create=TAKEN),
    _refused("listed on another port", "http://hooks.corp.example/", create=TAKEN),
]
REBINDING = [
    Case(
        id=f"rebinding {name}",
        url=f"http://{name}.example/",
        create=TAKEN,
        send=(200, REFUSED, REFUSED),
        reaches=frozenset({(address, 80)}),
    )
    for name, address in {
        "turning": PUBLIC_V4,
        "turning6": PUBLIC_V6,
        "turning-own": PUBLIC_V4,
    }.items()
]
FAULTS = [
    Case(id=f"name {why}", url=f"http://{host}/", create=TAKEN, send=(UNKNOWN,))
    for why, host in {
        "that does not exist": "nobody.example",
        "without an address": "empty.example",
        "of a broken zone": "broken.example",
        "of our own in the hosts file": "platform.corp.example",
        "that only the search domain knows": "build.prod",
    }.items()
] + [
    Case(
        id="name that hangs",
        url="http://hanging.example/",
        create=TAKEN,
        send=("timeout",),
        seconds=0.5,
    )
]
CASES = [
    *CONTROLS,
    *LISTED,
    *(_refused(f"literal {each}", f"http://{_host(each)}/") for each in HOSTILE),
    *(_refused(f"own {each}", f"http://{_host(each)}/", create=TAKEN) for each in OWN),
    *(_refused(f"disguised {each}", f"http://{each}/") for each in DISGUISED.split()),
    *(_refused(f"odd {each}", each) for each in ODD),
    *(
        Case(id=f"malformed {url!a}", url=url, create=INVALID, send=(INVALID,))
        for url in MALFORMED
    ),
    *PORTS,
    *NAMES,
    *REBINDING,
    *FAULTS,
    *REDIRECTS,
]
