"""The control API: faults, log, statistics and health.

Only `/v1/status` exists at Deepgram, on its self-hosted server. Requests need no key:
bind the emulator to a private address.
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
    """Add rules and change settings; on error, apply nothing."""
    emulator = request.app[state.EMULATOR]
    try:
        body = await request.json()
        tuning = emulator.tuning.changed(body.get("config", {}))
        emulator.faults.add(body.get("rules", []))
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        return web.json_response({"error": str(error)}, status=_BAD_REQUEST)
    emulator.tuning = tuning
    return _show_faults(emulator)


async def show_faults(request: web.Request) -> web.Response:
    """Return the current rules and settings."""
    return _show_faults(request.app[state.EMULATOR])


async def clear_faults(request: web.Request) -> web.Response:
    """Delete the rules, reset the counters and restore the initial settings."""
    emulator = request.app[state.EMULATOR]
    emulator.reset()
    return _show_faults(emulator)


async def show_log(request: web.Request) -> web.Response:
    """Return calls in order of arrival, calls in progress included.

    `since` is the last `seq` already read; `tag` and `path` filter. Pass `last` of the
    response as the next `since`.
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
    """Delete the log and reset counts and peaks."""
    emulator = request.app[state.EMULATOR]
    emulator.journal.clear()
    emulator.limiter.reset_peaks()
    emulator.stream_limiter.reset_peaks()
    return web.json_response({})


async def show_statistics(request: web.Request) -> web.Response:
    """Return the statistics for load tests."""
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
    """Return the open live streams, oldest first."""
    streams = _find_streams(request)
    return web.json_response({"streams": [_describe(stream) for stream in streams]})


async def cut_streams(request: web.Request) -> web.Response:
    """Close all open streams, or those that match `tag` or `project`.

    `how=rst` (the default) resets the connections; `how=1011` closes them with
    NET-0000, as Deepgram does after it sent no text for too long.
    """
    how = request.query.get("how", "rst")
    if how not in {"rst", "1011"}:
        return web.json_response(
            {"error": "how must be rst or 1011"}, status=_BAD_REQUEST
        )
    streams = _find_streams(request)
    described = [_describe(stream) for stream in streams]
    for stream in streams:
        stream.cut(is_reset=how == "rst")
    return web.json_response({"cut": described})


async def show_status(request: web.Request) -> web.Response:
    """Return the health response of a self-hosted server."""
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
    """Return the engine status; the server listens only after the engine started."""
    return web.json_response({"engine_connection_status": "Connected"})


def _find_streams(request: web.Request) -> list[state.Stream]:
    """Return the open streams that match the query, oldest first."""
    query = request.query
    return sorted(
        (
            stream
            for stream in request.app[state.EMULATOR].streams
            if ("tag" not in query or query["tag"] in stream.entry.tags)
            and ("project" not in query or query["project"] == stream.entry.project)
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
