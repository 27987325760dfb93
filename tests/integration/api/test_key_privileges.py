"""A key never grants more than it has: scopes, networks and lifetime."""

from datetime import timedelta

import pytest
from django.utils import timezone

from jobs.accounts import key_privileges, keys
from jobs.errors import Forbidden
from jobs.models import ApiKey, Event
from tests.support.api import assert_problem, send_as
from tests.support.factories import make_key

KEYS = "/v1/api-keys"
NETWORKS = ["127.0.0.0/25", "127.0.0.128/25", "2001:db8::/32"]
ASKED = {"name": "ci", "scopes": ["jobs:read"]}
EXCEEDED = "allowed_ips_exceeded"
IN_AN_HOUR = {"expires_in_seconds": 3600}


@pytest.fixture
def bound(db):
    """Return a key that is bound to networks, and its text."""
    return make_key(allowed_ips=NETWORKS)


@pytest.fixture
def mortal(db):
    """Return a key that expires in an hour, and its text."""
    return make_key(expires_at=timezone.now() + timedelta(hours=1))


@pytest.mark.parametrize(
    "networks",
    [
        {},
        {"allowed_ips": []},
        {"allowed_ips": ["0.0.0.0/0"]},
        {"allowed_ips": ["127.0.0.0/23"]},
        {"allowed_ips": ["127.0.0.1", "192.0.2.1"]},
        {"allowed_ips": ["::/0"]},
        {"allowed_ips": ["2001:db8::/31"]},
        {"allowed_ips": ["::7f00:1"]},
    ],
)
def test_a_bound_key_creates_no_key_for_other_addresses(bound, networks):
    answer = send_as(bound[1], "POST", KEYS, ASKED | networks)

    problem = assert_problem(answer, 403, EXCEEDED)
    assert "allowed_ips within" in problem["detail"]
    assert (ApiKey.objects.count(), Event.objects.count()) == (1, 0)


@pytest.mark.parametrize(
    "networks",
    [
        ["127.0.0.1"],
        ["127.0.0.0/24"],  # two halves that the key has make a whole
        ["127.0.0.64/26", "2001:db8:1::/48"],
        NETWORKS,
    ],
)
def test_a_bound_key_creates_keys_within_its_networks(bound, networks):
    answer = send_as(bound[1], "POST", KEYS, ASKED | {"allowed_ips": networks})

    assert answer.status_code == 201
    assert set(answer.json()["allowed_ips"]) == set(networks)


def test_a_bound_key_changes_no_key_to_other_addresses(bound):
    key, text = bound
    own, free = f"{KEYS}/{key.public_id}", make_key(key.tenant)[0]
    other = make_key(key.tenant, allowed_ips=["192.0.2.0/24"])[0]

    for path, networks in (
        (own, []),
        (own, ["127.0.0.1", "192.0.2.1"]),
        (f"{KEYS}/{other.public_id}", []),
        (f"{KEYS}/{other.public_id}", ["192.0.3.0/24"]),
    ):
        answer = send_as(text, "PATCH", path, {"allowed_ips": networks})
        assert_problem(answer, 403, EXCEEDED)
    kept = ApiKey.objects.values_list("public_id", "allowed_ips")
    assert dict(kept) == {
        key.public_id: NETWORKS,
        free.public_id: [],
        other.public_id: ["192.0.2.0/24"],
    }
    # To narrow a key grants nothing.
    for path, networks in (
        (f"{KEYS}/{free.public_id}", ["198.51.100.0/24"]),
        (f"{KEYS}/{other.public_id}", ["192.0.2.1"]),
        (own, ["127.0.0.1"]),
    ):
        answer = send_as(text, "PATCH", path, {"allowed_ips": networks})
        assert answer.json()["allowed_ips"] == networks


def test_a_bound_key_rotates_no_key_of_other_addresses(bound):
    key, text = bound
    free, _ = make_key(key.tenant)

    refused = send_as(text, "POST", f"{KEYS}/{free.public_id}/rotate")
    own = send_as(text, "POST", f"{KEYS}/{key.public_id}/rotate")

    assert_problem(refused, 403, EXCEEDED)
    free.refresh_from_db()
    assert (free.expires_at, free.replaced_by) == (None, None)
    assert own.json()["allowed_ips"] == NETWORKS


@pytest.mark.parametrize("expiry", [{}, {"expires_in_seconds": 3700}])
def test_a_key_that_expires_creates_no_key_that_lives_longer(mortal, expiry):
    answer = send_as(mortal[1], "POST", KEYS, ASKED | expiry)

    problem = assert_problem(answer, 403, "expires_at_exceeded")
    assert "no later than that" in problem["detail"]
    assert (ApiKey.objects.count(), Event.objects.count()) == (1, 0)


def test_a_key_that_expires_creates_keys_that_end_with_it(mortal):
    key, text = mortal
    ends = {"expires_at": key.expires_at.isoformat()}

    answer = send_as(text, "POST", KEYS, ASKED | ends)

    assert answer.status_code == 201
    made = ApiKey.objects.get(public_id=answer.json()["id"])
    assert made.expires_at == key.expires_at


def test_a_key_that_expires_does_not_renew_itself_or_others(mortal):
    key, text = mortal
    other, _ = make_key(key.tenant)
    week = {"overlap_seconds": 604_800}

    for path in (f"{KEYS}/{key.public_id}", f"{KEYS}/{other.public_id}"):
        for body in ({}, week, week | {"expires_in_seconds": 7200}):
            answer = send_as(text, "POST", f"{path}/rotate", body)
            assert_problem(answer, 403, "expires_at_exceeded")
    assert ApiKey.objects.count() == 2
    assert ApiKey.objects.get(pk=other.pk).expires_at is None

    soon = week | {"expires_in_seconds": 600}
    answer = send_as(text, "POST", f"{KEYS}/{key.public_id}/rotate", soon)

    assert answer.status_code == 201
    # An overlap of a week does not put off the end of the old key.
    assert ApiKey.objects.get(pk=key.pk).expires_at == key.expires_at


def test_a_key_that_never_expires_renews_one_that_does(mortal):
    key, _ = mortal
    _, text = make_key(key.tenant)

    answer = send_as(text, "POST", f"{KEYS}/{key.public_id}/rotate")

    assert answer.status_code == 201


def test_the_holder_is_read_again_under_the_lock(bound):
    holder, _ = bound
    before = ApiKey.objects.get(pk=holder.pk)
    before.allowed_ips = []  # as it was when the request was authenticated
    draft, now = keys.KeyDraft(name="x"), timezone.now()

    with pytest.raises(Forbidden):
        keys.issue_key(
            tenant=holder.tenant, draft=draft, actor="t", now=now, holder=before
        )
    ApiKey.objects.update(revoked_at=now)
    with pytest.raises(Forbidden, match="revoked"):
        keys.issue_key(
            tenant=holder.tenant, draft=draft, actor="t", now=now, holder=before
        )


@pytest.mark.parametrize(
    ("asked", "limit", "is_within"),
    [
        ([], [], True),
        ([], ["10.0.0.0/8"], False),
        (["10.0.0.0/8"], [], True),
        (["10.0.0.0/8"], ["10.0.0.0/8"], True),
        (["10.1.0.0/16"], ["10.0.0.0/8"], True),
        (["10.0.0.0/8"], ["10.1.0.0/16"], False),
        (["10.0.0.1"], ["::/0"], False),
        (["2001:db8::1"], ["0.0.0.0/0"], False),
        (["2001:db8::/33", "2001:db8:8000::/33"], ["2001:db8::/32"], True),
        (["2001:db8::/32"], ["2001:db8::/33", "2001:db8:8000::/33"], True),
        (["0.0.0.0/0"], ["0.0.0.0/1", "128.0.0.0/1"], True),
        (["0.0.0.0/0"], ["0.0.0.0/1"], False),
    ],
)
def test_networks_are_within_others(asked, limit, is_within):
    assert key_privileges.is_within(asked, limit) is is_within
