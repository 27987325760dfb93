"""Pages of a tenant's list, newest first, by opaque cursors.

Ids are time-ordered, so a place is the last id seen; it stays put while rows come in.
Signed, so that a cursor of another tenant or another list, or one that somebody edited,
is told from a valid one.
"""

import base64
import binascii
import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self, TypeVar
from urllib.parse import urlencode
from uuid import UUID

from django.db.models import Model, QuerySet
from django.utils.crypto import salted_hmac
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import BaseSerializer

from jobs.api import refuse_parameter
from jobs.errors import InvalidRequest

PARAMETERS = ("cursor", "limit")
DEFAULT_LIMIT = 20
MAX_LIMIT = 100
_SIGNATURE_LENGTH = 8
_UUID_LENGTH = 16


Row = TypeVar("Row", bound=Model)


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Which list it is: of whom and of what."""

    owner: UUID
    of: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PageQuery:
    """Which page of a list is asked for."""

    place: Place
    after: UUID | None
    limit: int

    @classmethod
    def parse(cls, params: Mapping[str, str], *, owner: UUID, of: str) -> Self:
        """Read ``cursor`` and ``limit``; raises InvalidRequest naming the bad one."""
        place, cursor = Place(owner=owner, of=of), params.get("cursor")
        return cls(
            place=place,
            after=None if cursor is None else parse_cursor(cursor, place=place),
            limit=_parse_limit(params.get("limit", str(DEFAULT_LIMIT))),
        )


def get_page(rows: QuerySet[Row], page: PageQuery) -> tuple[list[Row], bool]:
    """Return the page's rows, newest first, and whether there are more.

    Rows that arrive between two pages are newer than both: none is shown twice, none
    is passed over.
    """
    if page.after:
        rows = rows.filter(pk__lt=page.after)
    found = list(rows.order_by("-pk")[: page.limit + 1])
    return found[: page.limit], len(found) > page.limit


def respond_page(
    request: Request,
    rows: QuerySet[Row],
    page: PageQuery,
    serializer: type[BaseSerializer[Any]],
) -> Response:
    """Answer with one page: its rows, and how to go on, in the body and as a link."""
    found, has_more = get_page(rows, page)
    cursor = build_cursor(found[-1].pk, place=page.place) if has_more else None
    shown = {
        "data": serializer(found, many=True).data,
        "has_more": has_more,
        "next_cursor": cursor,
    }
    return Response(shown, headers=_link(request, cursor) if cursor else {})


def build_cursor(last: UUID, *, place: Place) -> str:
    """Return the cursor that continues after ``last``."""
    signed = last.bytes + _signature(last, place)
    return base64.urlsafe_b64encode(signed).decode()


def parse_cursor(cursor: str, *, place: Place) -> UUID:
    """Return the id to continue after, or raise InvalidRequest."""
    try:
        signed = base64.b64decode(cursor, altchars=b"-_", validate=True)
        last = UUID(bytes=signed[:_UUID_LENGTH])
    except (binascii.Error, ValueError):
        last, signed = place.owner, b""
    given = signed[_UUID_LENGTH:]
    if not hmac.compare_digest(given, _signature(last, place)):
        message = "This cursor is not one of this list's."
        raise InvalidRequest(message, code="cursor_invalid", pointer="?cursor")
    return last


def _parse_limit(text: str) -> int:
    if not re.fullmatch(r"[1-9][0-9]{0,2}", text) or int(text) > MAX_LIMIT:
        refuse_parameter("limit", f"This is a whole number from 1 to {MAX_LIMIT}.")
    return int(text)


def _link(request: Request, cursor: str) -> dict[str, str]:
    query = urlencode({**request.query_params.dict(), "cursor": cursor})
    return {"Link": f'<{request.path}?{query}>; rel="next"'}


def _signature(last: UUID, place: Place) -> bytes:
    value = last.bytes + place.owner.bytes + place.of.encode()
    whole = salted_hmac("jobs.cursor", value, algorithm="sha256").digest()
    return whole[:_SIGNATURE_LENGTH]
