"""The guard against a hostile network: a real kernel, real names, real listeners."""

import json
import os
import shutil
import subprocess
import sys

import pytest

from jobs.egress.addresses import EgressAllow, check_url
from jobs.errors import InvalidRequest
from tests.netns import cases
from tests.netns.cases import CASES, Case
from tests.support import ROOT

SUBMITTED = [case for case in CASES if case not in cases.REDIRECTS]
INSIDE = (sys.executable, "-m", "tests.netns.inside")
UNSHARE = ("unshare", "--net", "--mount")
PROBE = (
    "ip link add name a type veth peer name b"
    " && mount --bind /etc/hosts /etc/resolv.conf"
)
UNTESTED = "the guard is NOT tested on a hostile network"
PROXIES = ("http_proxy", "https_proxy", "all_proxy")

# One wire for all.
pytestmark = pytest.mark.xdist_group("network_namespace")


def why_not() -> tuple[tuple[str, ...], str]:
    """Return the command that opens a namespace here, or why there is none."""
    for tool in ("unshare", "ip", "mount"):
        if not shutil.which(tool):
            return (), f"there is no `{tool}`"
    said = ""
    for command in (UNSHARE, (*UNSHARE, "--user", "--map-root-user")):
        done = subprocess.run(
            (*command, "sh", "-c", PROBE), check=False, capture_output=True, text=True
        )
        if done.returncode == 0:
            return command, ""
        said = done.stderr.strip()
    return (), said


@pytest.fixture(scope="session")
def report():
    """Run every case in a namespace, once."""
    command, reason = why_not()
    if not command:
        pytest.skip(f"{UNTESTED}: {reason}")
    environment = {
        **os.environ,
        **dict.fromkeys(PROXIES, cases.PROXY),
        **dict.fromkeys(map(str.upper, PROXIES), cases.PROXY),
        "NO_PROXY": "",
        "EGRESS_ALLOW": cases.ALLOWED,
        "WEBHOOK_ALLOW_HTTP": "1",
    }
    done = subprocess.run(
        (*command, *INSIDE),
        cwd=ROOT,
        env=environment,
        check=False,
        capture_output=True,
        text=True,
        timeout=90,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_a_post_ends_as_it_must_and_connects_to_nothing_else(report, case: Case):
    result = report["results"][case.id]

    ends = [each["error"] or each["status_code"] for each in result["answers"]]
    assert ends == list(case.send)
    assert {tuple(each) for each in result["tried"]} == case.reaches


@pytest.mark.parametrize("case", SUBMITTED, ids=lambda case: case.id)
def test_a_url_is_judged_when_it_is_submitted(case: Case):
    code = ""
    try:
        check_url(
            case.url,
            allow=EgressAllow.parse(cases.ALLOWED.split(",")),
            schemes=("http", "https"),
        )
    except InvalidRequest as refusal:
        code = refusal.code

    assert code == case.create


def test_nothing_but_what_may_be_reached_was_called(report):
    may = {place for case in CASES for place in case.reaches}

    assert {tuple(each) for each in report["called"]} == may


def test_open_closed_and_blocked_ports_look_the_same(report):
    results = [report["results"][case.id] for case in cases.PORTS]

    nothing = {
        "status_code": None,
        "error": "destination_not_allowed",
        "retry_after": "",
        "instruction": "",
        "excerpt": "",
        "duration_ms": 0,
    }
    assert [each["answers"] for each in results] == [[nothing]] * len(cases.PORTS)
    assert max(each["took"] for each in results) < 1


def test_the_search_domain_of_the_machine_is_not_tried(report):
    assert "build.prod" in report["asked"]
    assert not any(each.endswith("prod.corp.example") for each in report["asked"])


def test_what_the_text_alone_refuses_is_not_looked_up(report):
    unasked = {"redis", "localhost", "metadata.google.internal", "127.1", "2130706433"}

    assert unasked.isdisjoint(report["asked"])
