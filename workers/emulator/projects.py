"""The management API for reading projects, requests, balances and usage.

The requests are those of the journal, so that a client can reconcile its ledger. The
filters are Deepgram's, which has none by tag.
"""

import datetime
import itertools
import json
import time
import uuid
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from workers.emulator import journal, keys, state
from workers.emulator.protocol import options, refusals

Json = dict[str, Any]

LISTEN_PATH = "/v1/listen"
USD_PER_SECOND = 0.0043 / 60
BALANCE_USD = 200.0

_DEFAULT_LIMIT = 10
_HIGHEST_LIMIT = 1000
_FIRST_FAILURE = 400
_BALANCE = uuid.uuid5(uuid.NAMESPACE_URL, "https://emulator.invalid/balance")


@dataclass(frozen=True, slots=True, kw_only=True)
class ManagementCall:
    """An authenticated request."""

    emulator: state.Emulator
    caller: keys.Caller
    request: web.Request

    def finished(self) -> Iterator[journal.Entry]:
        """Yield the ended transcriptions of the caller's project, newest first."""
        for entry in self.emulator.journal.newest_first():
            if (
                entry.path == LISTEN_PATH
                and entry.project == self.caller.project
                and entry.finished_at is not None
            ):
                yield entry


Handler = Callable[[ManagementCall], Json]


def guarded(handler: Handler) -> Callable[[web.Request], Awaitable[web.Response]]:
    """Wrap a handler with authentication, journal entry and error response."""

    async def handle(request: web.Request) -> web.Response:
        emulator = request.app[state.EMULATOR]
        pairs = options.split_query(request.rel_url.raw_query_string)
        entry = state.open_entry(emulator, request, pairs)
        status, outcome = 200, journal.Outcome.OK
        try:
            caller = emulator.keyring.identify(request.headers.get("authorization"))
            entry.key, entry.project = caller.shown_key, caller.project
            _check_project(caller, request.match_info.get("project"))
            call = ManagementCall(emulator=emulator, caller=caller, request=request)
            body = json.dumps(handler(call)).encode()
        except refusals.Refused as refused:
            status, outcome = refused.refusal.status, journal.Outcome.ERROR
            return refused.refusal.response(entry.request_id)
        finally:
            emulator.journal.close(
                entry, status=status, outcome=outcome, now=time.time()
            )
        return web.Response(
            body=body,
            content_type="application/json",
            headers={"dg-request-id": entry.request_id},
        )

    return handle


@guarded
def list_projects(call: ManagementCall) -> Json:
    """Return the project of the key, as a list."""
    return {"projects": [_describe_project(call.caller)]}


@guarded
def get_project(call: ManagementCall) -> Json:
    """Return the project."""
    return {**_describe_project(call.caller), "mip_opt_out": False}


@guarded
def list_requests(call: ManagementCall) -> Json:
    """Return a page of the project's calls, newest first."""
    query = call.request.query
    limit = min(_read_whole(query.get("limit"), _DEFAULT_LIMIT), _HIGHEST_LIMIT)
    page = _read_whole(query.get("page"), 0)
    found = (entry for entry in call.finished() if _matches(entry, query))
    chosen = itertools.islice(found, page * limit, (page + 1) * limit)
    return {
        "page": page,
        "limit": limit,
        "requests": [_describe_request(entry, call.caller) for entry in chosen],
    }


@guarded
def get_request(call: ManagementCall) -> Json:
    """Return one call of the project, or raise Refused with a 404."""
    request_id = call.request.match_info["request"]
    for entry in call.finished():
        if entry.request_id == request_id:
            return {"request": _describe_request(entry, call.caller)}
    raise refusals.Refused(refusals.REQUEST_NOT_FOUND)


@guarded
def list_balances(call: ManagementCall) -> Json:
    """Return the initial balance minus the price of all calls."""
    spent = sum(_price(entry) for entry in call.finished())
    balance = {
        "balance_id": str(_BALANCE),
        "amount": round(BALANCE_USD - spent, 6),
        "units": "usd",
        "purchase_order_id": "",
    }
    return {"balances": [balance]}


@guarded
def get_usage(call: ManagementCall) -> Json:
    """Return the total of the project's calls in the journal."""
    done = [entry for entry in call.finished() if entry.duration]
    hours = sum(entry.duration or 0.0 for entry in done) / 3600
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    start = call.request.query.get("start", today)
    end = call.request.query.get("end", today)
    return {
        "start": start,
        "end": end,
        "resolution": {"units": "day", "amount": 1},
        "results": [
            {
                "start": start,
                "end": end,
                "hours": hours,
                "total_hours": hours,
                "requests": len(done),
            }
        ],
    }


def _check_project(caller: keys.Caller, project: str | None) -> None:
    """Raise Refused with a 404 for projects of other keys."""
    if project is None:
        return
    try:
        project_id = str(uuid.UUID(project))
    except ValueError:
        raise refusals.invalid_uuid(project) from None
    if project_id != caller.project_id:
        raise refusals.Refused(refusals.PROJECT_NOT_FOUND)


def _describe_project(caller: keys.Caller) -> Json:
    return {"project_id": caller.project_id, "name": caller.project}


def _matches(entry: journal.Entry, query: Mapping[str, str]) -> bool:
    """Return whether the entry matches Deepgram's filters; ignores others."""
    status = entry.status or 0
    values = {
        "request_id": entry.request_id,
        "status": "failed" if status >= _FIRST_FAILURE else "succeeded",
        "method": _method(entry),
        "endpoint": "listen",
        "accessor": keys.key_id(entry.key),
    }
    return (
        all(query.get(name, value) == value for name, value in values.items())
        and ("start" not in query or _read_time(query["start"]) <= entry.started_at)
        and (
            "end" not in query
            or _read_time(query["end"], is_end=True) >= entry.started_at
        )
    )


def _describe_request(entry: journal.Entry, caller: keys.Caller) -> Json:
    return {
        "request_id": entry.request_id,
        "project_uuid": caller.project_id,
        "created": journal.format_time(entry.started_at),
        "path": f"{entry.path}?{entry.query}" if entry.query else entry.path,
        "api_key_id": keys.key_id(entry.key),
        "response": {
            "code": entry.status,
            "completed": journal.format_time(entry.finished_at),
            "details": {
                "usd": _price(entry),
                "duration": entry.duration or 0.0,
                "method": _method(entry),
                "tags": list(entry.tags),
                "features": list(entry.features),
                "models": [entry.model],
            },
        },
        "code": entry.status,
        "deployment": "hosted",
        "callback": entry.callback or None,
    }


def _method(entry: journal.Entry) -> str:
    return "async" if entry.callback else "sync"


def _price(entry: journal.Entry) -> float:
    is_paid = entry.status is not None and entry.status < _FIRST_FAILURE
    return round((entry.duration or 0.0) * USD_PER_SECOND, 8) if is_paid else 0.0


def _read_whole(text: str | None, default: int) -> int:
    """Return a whole number; Deepgram's SDK sends 10 as `10.0`."""
    if text is None:
        return default
    try:
        return max(0, int(float(text)))
    except (ValueError, OverflowError):
        raise refusals.invalid_query("invalid digit found in string") from None


def _read_time(text: str, *, is_end: bool = False) -> float:
    try:
        parsed = datetime.datetime.fromisoformat(text)
    except ValueError:
        raise refusals.invalid_query("input contains invalid characters") from None
    if is_end and "T" not in text:
        parsed += datetime.timedelta(days=1)
    if parsed.tzinfo is None:
        parsed = parsed.replace(tzinfo=datetime.UTC)
    return parsed.timestamp()
