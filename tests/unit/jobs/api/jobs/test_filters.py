import base64
from datetime import UTC, datetime
from uuid import UUID

import pytest
import uuid_utils.compat

from jobs.api.jobs.filters import JobListQuery
from jobs.errors import InvalidRequest
from jobs.queries import JobFilter
from jobs.rest.pagination import ListScope, PageQuery, build_cursor, parse_cursor

OWNER = UUID("0b7c2a9e-1f5d-7b7a-9c55-2f1f9e1f4a11")
SCOPE = ListScope(owner=OWNER, list_name="jobs")
# Fixed, as test processes must agree on the names of the cases made from it.
LAST = UUID("01a205f4-683b-7324-bedc-9bb5d522d835")


def test_without_parameters_it_is_the_first_page_of_everything():
    query = JobListQuery.parse({}, owner=OWNER)

    assert query == JobListQuery(
        filters=JobFilter(), page=PageQuery(scope=SCOPE, after=None, limit=20)
    )


def test_every_parameter_is_read():
    query = JobListQuery.parse(
        {
            "cursor": build_cursor(LAST, scope=SCOPE),
            "limit": "100",
            "status": "failed",
            "priority": "urgent",
            "created_after": "2026-01-31T12:00:00Z",
            "created_before": "2026-01-31T12:00:00 00:00",
            "metadata.order": "7",
        },
        owner=OWNER,
    )

    noon = datetime(2026, 1, 31, 12, tzinfo=UTC)
    filters = JobFilter(
        status="failed",
        priority=0,
        created_after=noon,
        created_before=noon,
        metadata={"order": "7"},
    )
    assert query == JobListQuery(
        filters=filters, page=PageQuery(scope=SCOPE, after=LAST, limit=100)
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("limit", ""),
        ("limit", "0"),
        ("limit", "-1"),
        ("limit", "101"),
        ("limit", "1e9"),
        ("limit", "null"),
        ("limit", " 5"),
        ("limit", "05"),
        ("limit", "٣"),
        ("status", ""),
        ("status", "done"),
        ("status", "QUEUED"),
        ("priority", "6"),
        ("priority", "Urgent"),
        ("created_after", "yesterday"),
        ("created_after", "2026-01-31"),
        ("created_after", "2026-01-31T12:00:00"),
        ("created_before", "2026-13-31T12:00:00Z"),
        ("metadata.", "x"),
        ("metadata.a", "\0"),
        ("metadata.a\0", "x"),
    ],
)
def test_what_cannot_be_read_is_refused_by_name(name, value):
    with pytest.raises(InvalidRequest) as caught:
        JobListQuery.parse({name: value}, owner=OWNER)

    assert caught.value.code == "parameter_invalid"
    assert caught.value.pointer == f"?{name}"


def tampered():
    good = build_cursor(LAST, scope=SCOPE)
    raw = base64.urlsafe_b64decode(good)
    return [
        "",
        "x",
        good[:-1],
        good[:-4],
        good + "AAAA",
        good.swapcase(),
        str(LAST),
        base64.urlsafe_b64encode(LAST.bytes).decode(),
        base64.urlsafe_b64encode(bytes([raw[0] ^ 1]) + raw[1:]).decode(),
        base64.urlsafe_b64encode(raw[:-1] + bytes([raw[-1] ^ 1])).decode(),
        build_cursor(
            LAST, scope=ListScope(owner=UUID(int=OWNER.int + 1), list_name="jobs")
        ),
        build_cursor(LAST, scope=ListScope(owner=OWNER, list_name="deliveries")),
        "é" * 32,
    ]


@pytest.mark.parametrize("cursor", tampered())
def test_a_cursor_is_ours_whole_and_this_tenants(cursor):
    with pytest.raises(InvalidRequest) as caught:
        parse_cursor(cursor, scope=SCOPE)

    assert (caught.value.code, caught.value.pointer) == ("cursor_invalid", "?cursor")


def test_a_cursor_needs_no_escaping_in_a_url():
    cursors = {build_cursor(uuid_utils.compat.uuid7(), scope=SCOPE) for _ in range(200)}

    assert all(cursor.replace("-", "").replace("_", "").isalnum() for cursor in cursors)


def test_more_metadata_than_a_job_can_have_is_not_looked_for():
    asked = {f"metadata.{n}": "x" for n in range(17)}

    with pytest.raises(InvalidRequest) as caught:
        JobListQuery.parse(asked, owner=OWNER)

    assert caught.value.pointer == "?metadata.16"
    del asked["metadata.16"]
    assert len(JobListQuery.parse(asked, owner=OWNER).filters.metadata) == 16
