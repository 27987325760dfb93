"""What the emulator is told and asked about itself: faults, log, statistics, health.

None of this exists at Deepgram, but for `/v1/status`, which its self-hosted server has.
There is no key to it: bind the emulator to an address only you can reach.
"""

import dataclasses
import itertools
import time
from typing import Any

from aiohttp import web

from workers.emulator import journal, limits, state

_LOG_LIMIT = 10_000
_BAD_REQUEST = 400


async def add_faults(request: web.Request) -> web.Response:
    """Add rules and change settings: all of it or, when something is wrong, nothing."""
    emulator = request.app[state.EMULATOR]
    try:
        wanted = await request.json()
        tuning = emulator.tuning.changed(wanted.get("config", {}))
        emulator.faults.add(wanted.get("rules", []))
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        return web.json_response({"error": str(error)}, status=_BAD_REQUEST)
    emulator.tuning = tuning
    return _show_faults(emulator)


async def show_faults(request: web.Request) -> web.Response:
    """Return rules and settings as they are now."""
    return _show_faults(request.app[state.EMULATOR])


async def clear_faults(request: web.Request) -> web.Response:
    """Go back to the start: no rules, counters at zero, the first settings."""
    emulator = request.app[state.EMULATOR]
    emulator.reset()
    return _show_faults(emulator)


async def show_log(request: web.Request) -> web.Response:
    """Return calls in the order they came, those still under way included.

    `since` is the last number already seen, `tag` and `path` narrow it down; `last`
    in the answer is where to go on.
    """
    query = request.query
    emulator = request.app[state.EMULATOR]
    try:
        since = int(query.get("since", "0"))
        limit = int(query.get("limit", str(_LOG_LIMIT)))
    except ValueError as error:
        return web.json_response({"error": str(error)}, status=_BAD_REQUEST)
    found = [
        entry
        for entry in emulator.journal.since(since)
        if ("tag" not in query or query["tag"] in entry.tags)
        and ("path" not in query or query["path"] == entry.path)
    ]
    entries = [entry.describe() for entry in itertools.islice(found, limit)]
    last = entries[-1]["seq"] if entries else since
    return web.json_response(
        {"requests": entries, "last": last, "has_more": len(found) > len(entries)}
    )


async def clear_log(request: web.Request) -> web.Response:
    """Forget the calls so far, and start counts and peaks anew."""
    emulator = request.app[state.EMULATOR]
    emulator.journal.clear()
    emulator.limiter.reset_peaks()
    emulator.stream_limiter.reset_peaks()
    return web.json_response({})


async def show_statistics(request: web.Request) -> web.Response:
    """Return the figures a load test is judged by."""
    emulator = request.app[state.EMULATOR]
    return web.json_response(
        {
            **emulator.limiter.report(time.monotonic()),
            **emulator.journal.report(),
            "streams": emulator.stream_limiter.report(time.monotonic()),
            "window_seconds": limits.WINDOW_SECONDS,
            "callbacks": dataclasses.asdict(emulator.callbacks.counts),
            "engine": emulator.transcriber.engine.name,
            "started_at": journal.format_time(emulator.started_at),
        }
    )


async def show_streams(request: web.Request) -> web.Response:
    """Return the live streams that are open, the oldest first."""
    streams = _find_streams(request)
    return web.json_response({"streams": [_describe(each) for each in streams]})


async def cut_streams(request: web.Request) -> web.Response:
    """Break off every open stream at once, or those with a `tag` or of a `project`.

    `how=rst` (the default) resets the connections, `how=1011` closes them as Deepgram
    does when it has nothing to say.
    """
    how = request.query.get("how", "rst")
    if how not in {"rst", "1011"}:
        return web.json_response({"error": "how is rst or 1011"}, status=_BAD_REQUEST)
    streams = _find_streams(request)
    told = [_describe(each) for each in streams]
    for each in streams:
        each.cut(is_reset=how == "rst")
    return web.json_response({"cut": told})


async def show_status(request: web.Request) -> web.Response:
    """Return the health of a self-hosted server; it listens only when ready."""
    emulator = request.app[state.EMULATOR]
    usage = emulator.limiter.report(time.monotonic())
    streams = emulator.stream_limiter.report(time.monotonic())
    return web.json_response(
        {
            "system_health": "Healthy",
            "active_batch_requests": usage["in_flight"],
            "active_stream_requests": streams["in_flight"],
            "active_listen_v2_stream_requests": 0,
        }
    )


async def show_engine(_request: web.Request) -> web.Response:
    """Return that the engine is there, since the server listens only then."""
    return web.json_response({"engine_connection_status": "Connected"})


def _find_streams(request: web.Request) -> list[state.Stream]:
    """Return the open streams that the query means, the oldest first."""
    query = request.query
    return sorted(
        (
            each
            for each in request.app[state.EMULATOR].streams
            if ("tag" not in query or query["tag"] in each.entry.tags)
            and ("project" not in query or query["project"] == each.entry.project)
        ),
        key=lambda stream: stream.entry.seq,
    )


def _describe(stream: state.Stream) -> dict[str, Any]:
    entry = stream.entry
    return {
        "seq": entry.seq,
        "request_id": entry.request_id,
        "project": entry.project,
        "tags": list(entry.tags),
        "bytes": entry.size_bytes,
        "duration": round(stream.seconds, 6),
    }


def _show_faults(emulator: state.Emulator) -> web.Response:
    settings: dict[str, Any] = dataclasses.asdict(emulator.tuning)
    return web.json_response({"rules": emulator.faults.describe(), "config": settings})
