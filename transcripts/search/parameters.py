"""Parse the query string of a search; each unknown value raises InvalidRequest."""

import hashlib
import json
import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Self
from uuid import UUID

from jobs.api.jobs.filters import parse_metadata
from jobs.models import Mode
from jobs.parsing.strict_json import is_storable
from jobs.rest import pagination
from jobs.rest.filters import parse_choice, parse_id, parse_moment
from jobs.rest.pagination import ListScope
from jobs.rest.views import refuse_parameter
from transcripts.search import query_language
from transcripts.search.languages import LANGUAGE
from transcripts.search.ranking import Hit, SearchFilters, SearchPosition

_SHARE = re.compile(
    r"0(?:\.[0-9]{1,20})?|1(?:\.0{1,20})?|[0-9](?:\.[0-9]{1,20})?e-[0-9]{1,3}"
)
# Microseconds of the first page since the epoch; rank and id of the last hit.
_POSITION = struct.Struct(">qd16s")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchQuery:
    """The requested page and filters of a search.

    A cursor is valid for the same words and filters only: ranks of other searches are
    not comparable.
    """

    filters: SearchFilters
    scope: ListScope
    position: SearchPosition
    limit: int

    @classmethod
    def parse(cls, params: Mapping[str, str], *, owner: UUID, now: datetime) -> Self:
        """Parse the parameters; raises InvalidRequest."""
        filters = SearchFilters(
            words=_words(params),
            batch_id=parse_id(params, "batch_id"),
            mode=parse_choice(params, "mode", list(Mode)) or "",
            language=_language(params),
            created_after=parse_moment(params, "created_after"),
            created_before=parse_moment(params, "created_before"),
            min_confidence=_confidence(params),
            metadata=parse_metadata(params),
        )
        scope = ListScope(owner=owner, list_name=f"transcripts {_digest(params)}")
        position = SearchPosition(as_of=now)
        if (cursor := params.get("cursor")) is not None:
            position = _parse_position(cursor, scope)
        limit = pagination.parse_limit(params)
        return cls(filters=filters, scope=scope, position=position, limit=limit)

    def build_cursor(self, last: Hit) -> str:
        """Return the cursor of the page after this hit."""
        since = (self.position.as_of - _EPOCH) // timedelta(microseconds=1)
        content = _POSITION.pack(since, last.rank, last.transcript_id.bytes)
        return pagination.sign_cursor(content, scope=self.scope)


def _parse_position(cursor: str, scope: ListScope) -> SearchPosition:
    content = pagination.unsign_cursor(cursor, _POSITION.size, scope=scope)
    since, rank, last = _POSITION.unpack(content)
    return SearchPosition(
        as_of=_EPOCH + timedelta(microseconds=since), rank=rank, after=UUID(bytes=last)
    )


def _words(params: Mapping[str, str]) -> query_language.Groups:
    text = params.get("q")
    if text is None:
        return []
    if not is_storable(text):
        refuse_parameter("q", "Text must not contain NUL or lone surrogates.")
    return query_language.parse_words(text)


def _language(params: Mapping[str, str]) -> str:
    text = params.get("language", "").lower()
    if "language" in params and not LANGUAGE.fullmatch(text):
        refuse_parameter("language", "Must be a language such as en or pt-BR.")
    return text


def _confidence(params: Mapping[str, str]) -> float | None:
    text = params.get("min_confidence")
    if text is None:
        return None
    if not _SHARE.fullmatch(text):
        refuse_parameter("min_confidence", "Must be a number from 0 to 1.")
    return float(text)


def _digest(params: Mapping[str, str]) -> str:
    filters = {k: v for k, v in params.items() if k not in pagination.PARAMETERS}
    return hashlib.sha256(json.dumps(filters, sort_keys=True).encode()).hexdigest()
