"""Pages of a tenant's list, newest first, by opaque cursors.

Ids are time-ordered, so a place is the last id seen; it stays put while rows come in.
Signed, so that a cursor of another tenant or another list, or one that somebody edited,
is told from a valid one.
"""

import base64
import binascii
import hmac
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self, TypeVar
from urllib.parse import urlencode
from uuid import UUID

from django.db.models import Model, QuerySet
from django.utils.crypto import salted_hmac
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import BaseSerializer

from jobs.errors import InvalidRequest
from jobs.rest.views import refuse_parameter

PARAMETERS = ("cursor", "limit")
DEFAULT_LIMIT = 20
MAX_LIMIT = 100
_SIGNATURE_LENGTH = 8
_UUID_LENGTH = 16


Row = TypeVar("Row", bound=Model)


@dataclass(frozen=True, slots=True, kw_only=True)
class ListScope:
    """Which list it is: of whom and of what."""

    owner: UUID
    of: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PageQuery:
    """Which page of a list is asked for."""

    place: ListScope
    after: UUID | None
    limit: int

    @classmethod
    def parse(cls, params: Mapping[str, str], *, owner: UUID, of: str) -> Self:
        """Read ``cursor`` and ``limit``; raises InvalidRequest naming the bad one."""
        place, cursor = ListScope(owner=owner, of=of), params.get("cursor")
        return cls(
            place=place,
            after=None if cursor is None else parse_cursor(cursor, place=place),
            limit=parse_limit(params),
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
    return respond_rows(request, show_rows(found, serializer), cursor)


def show_rows(rows: Sequence[Any], serializer: type[BaseSerializer[Any]]) -> list[Any]:
    """Return rows as they are shown, by one serializer: one each copies its fields."""
    shown: list[Any] = serializer(rows, many=True).data
    return shown


def respond_rows(
    request: Request, rows: Sequence[Any], cursor: str | None, **more: Any
) -> Response:
    """Answer with rows as they are shown; a cursor says that there are others."""
    shown = {"data": rows, "has_more": cursor is not None, "next_cursor": cursor}
    headers = _link(request, cursor) if cursor else {}
    return Response({**shown, **more}, headers=headers)


def build_cursor(last: UUID, *, place: ListScope) -> str:
    """Return the cursor that continues after ``last``."""
    return seal(last.bytes, place=place)


def parse_cursor(cursor: str, *, place: ListScope) -> UUID:
    """Return the id to continue after, or raise InvalidRequest."""
    return UUID(bytes=unseal(cursor, _UUID_LENGTH, place=place))


def seal(content: bytes, *, place: ListScope) -> str:
    """Return a cursor that holds the content, good for this list alone."""
    return base64.urlsafe_b64encode(content + _signature(content, place)).decode()


def unseal(cursor: str, length: int, *, place: ListScope) -> bytes:
    """Return what a cursor of this list holds, or raise InvalidRequest."""
    try:
        signed = base64.b64decode(cursor, altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        signed = b""
    content, given = signed[:length], signed[length:]
    if not hmac.compare_digest(given, _signature(content, place)):
        message = "This cursor is not one of this list's."
        raise InvalidRequest(message, code="cursor_invalid", pointer="?cursor")
    return content


def parse_limit(params: Mapping[str, str]) -> int:
    """Return how many rows a page has; raises InvalidRequest for what is no number."""
    text = params.get("limit", str(DEFAULT_LIMIT))
    if not re.fullmatch(r"[1-9][0-9]{0,2}", text) or int(text) > MAX_LIMIT:
        refuse_parameter("limit", f"This is a whole number from 1 to {MAX_LIMIT}.")
    return int(text)


def _link(request: Request, cursor: str) -> dict[str, str]:
    query = urlencode({**request.query_params.dict(), "cursor": cursor})
    return {"Link": f'<{request.path}?{query}>; rel="next"'}


def _signature(content: bytes, place: ListScope) -> bytes:
    value = content + place.owner.bytes + place.of.encode()
    whole = salted_hmac("jobs.cursor", value, algorithm="sha256").digest()
    return whole[:_SIGNATURE_LENGTH]
