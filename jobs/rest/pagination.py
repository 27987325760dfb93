"""Cursor pagination of a tenant's lists, newest first.

Ids are time-ordered, so a cursor holds the last id of the page and stays valid while
rows are added. It is signed: an edited cursor, or one of another tenant or list, is
rejected.
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
from jobs.rest.views import get_tenant, refuse_parameter

PARAMETERS = ("cursor", "limit")
DEFAULT_LIMIT = 20
MAX_LIMIT = 100
_SIGNATURE_LENGTH = 8
_UUID_LENGTH = 16


Row = TypeVar("Row", bound=Model)


@dataclass(frozen=True, slots=True, kw_only=True)
class ListScope:
    """The list that a cursor belongs to: its tenant and its kind of row."""

    owner: UUID
    list_name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PageQuery:
    """The requested page of a list."""

    scope: ListScope
    after: UUID | None
    limit: int

    @classmethod
    def parse(cls, params: Mapping[str, str], *, owner: UUID, list_name: str) -> Self:
        """Parse ``cursor`` and ``limit``; raises InvalidRequest."""
        scope, cursor = (
            ListScope(owner=owner, list_name=list_name),
            params.get("cursor"),
        )
        return cls(
            scope=scope,
            after=None if cursor is None else parse_cursor(cursor, scope=scope),
            limit=parse_limit(params),
        )


def get_page(rows: QuerySet[Row], page: PageQuery) -> tuple[list[Row], bool]:
    """Return the page's rows, newest first, and whether there are more.

    Rows added between two requests are newer than both pages, so none is repeated or
    skipped.
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
    """Return one page, with its next cursor in the body and in a ``Link`` header."""
    found, has_more = get_page(rows, page)
    cursor = build_cursor(found[-1].pk, scope=page.scope) if has_more else None
    return respond_rows(request, serialize_rows(found, serializer), cursor)


def respond_list(
    request: Request,
    rows: QuerySet[Row],
    serializer: type[BaseSerializer[Any]],
    *,
    list_name: str,
) -> Response:
    """Return the requested page of a list of the tenant; raises InvalidRequest."""
    params, owner = request.query_params, get_tenant(request).pk
    page = PageQuery.parse(params, owner=owner, list_name=list_name)
    return respond_page(request, rows, page, serializer)


def serialize_rows(
    rows: Sequence[Any], serializer: type[BaseSerializer[Any]]
) -> list[Any]:
    """Serialize rows with one serializer, so that its fields are built once."""
    shown: list[Any] = serializer(rows, many=True).data
    return shown


def respond_rows(
    request: Request, rows: Sequence[Any], cursor: str | None, **more: Any
) -> Response:
    """Return serialized rows; ``cursor`` is None on the last page."""
    page = {"data": rows, "has_more": cursor is not None, "next_cursor": cursor}
    headers = _link(request, cursor) if cursor else {}
    return Response({**page, **more}, headers=headers)


def build_cursor(last: UUID, *, scope: ListScope) -> str:
    """Return the cursor that continues after ``last``."""
    return sign_cursor(last.bytes, scope=scope)


def parse_cursor(cursor: str, *, scope: ListScope) -> UUID:
    """Return the id to continue after, or raise InvalidRequest."""
    return UUID(bytes=unsign_cursor(cursor, _UUID_LENGTH, scope=scope))


def sign_cursor(content: bytes, *, scope: ListScope) -> str:
    """Return a cursor with the content, valid for this list only."""
    return base64.urlsafe_b64encode(content + _signature(content, scope)).decode()


def unsign_cursor(cursor: str, length: int, *, scope: ListScope) -> bytes:
    """Return the content of a cursor of this list, or raise InvalidRequest."""
    try:
        signed = base64.b64decode(cursor, altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        signed = b""
    content, signature = signed[:length], signed[length:]
    if not hmac.compare_digest(signature, _signature(content, scope)):
        message = "The cursor is invalid or belongs to another list."
        raise InvalidRequest(message, code="cursor_invalid", pointer="?cursor")
    return content


def parse_limit(params: Mapping[str, str]) -> int:
    """Return the page size; raises InvalidRequest unless it is 1 to MAX_LIMIT."""
    text = params.get("limit", str(DEFAULT_LIMIT))
    if not re.fullmatch(r"[1-9][0-9]{0,2}", text) or int(text) > MAX_LIMIT:
        refuse_parameter("limit", f"Must be an integer from 1 to {MAX_LIMIT}.")
    return int(text)


def _link(request: Request, cursor: str) -> dict[str, str]:
    query = urlencode({**request.query_params.dict(), "cursor": cursor})
    return {"Link": f'<{request.path}?{query}>; rel="next"'}


def _signature(content: bytes, scope: ListScope) -> bytes:
    value = content + scope.owner.bytes + scope.list_name.encode()
    digest = salted_hmac("jobs.cursor", value, algorithm="sha256").digest()
    return digest[:_SIGNATURE_LENGTH]
