"""The server process: routes, socket, readiness and shutdown within a second."""

import asyncio
import contextlib
import gc
import json
import os
import signal
import sys
import uuid
from pathlib import Path

from aiohttp import web

from workers.emulator import config, control, prerecorded, projects, state
from workers.emulator.live import handshake, turns

# Longer than clients keep idle connections, so that the server never closes one while
# the client sends its next call.
_KEEPALIVE_SECONDS = 75.0
_SHUTDOWN_SECONDS = 0.3
# URLs with many key terms are long.
_LINE_BYTES = 64 * 1024


def build_app(emulator: state.Emulator) -> web.Application:
    """Return the application; does not start the emulator."""
    app = web.Application()
    app[state.EMULATOR] = emulator
    project = "/v1/projects/{project}"
    app.router.add_post("/v1/listen", prerecorded.transcribe)
    for path in ("/v1/listen", turns.PATH):
        app.router.add_get(path, handshake.listen, allow_head=False)
    app.router.add_routes(
        [
            web.get("/v1/projects", projects.list_projects),
            web.get(project, projects.get_project),
            web.get(f"{project}/requests", projects.list_requests),
            web.get(f"{project}/requests/{{request}}", projects.get_request),
            web.get(f"{project}/balances", projects.list_balances),
            web.get(f"{project}/usage", projects.get_usage),
            web.get("/v1/status", control.show_status),
            web.get("/v1/status/engine", control.show_engine),
            web.get("/__emu__/faults", control.show_faults),
            web.post("/__emu__/faults", control.add_faults),
            web.delete("/__emu__/faults", control.clear_faults),
            web.get("/__emu__/log", control.show_log),
            web.delete("/__emu__/log", control.clear_log),
            web.get("/__emu__/stats", control.show_statistics),
            web.get("/__emu__/streams", control.show_streams),
            web.delete("/__emu__/streams", control.cut_streams),
        ]
    )
    app.on_response_prepare.append(_add_request_id)
    app.on_shutdown.append(_cut_streams)
    return app


def run(settings: config.Config) -> None:
    """Serve until SIGTERM or SIGINT."""
    with contextlib.suppress(asyncio.CancelledError):
        asyncio.run(_serve(settings))


async def _serve(settings: config.Config) -> None:
    _stop_on_signals()
    emulator = state.build_emulator(settings)
    runner = web.AppRunner(
        build_app(emulator),
        access_log=None,
        handler_cancellation=True,
        keepalive_timeout=_KEEPALIVE_SECONDS,
        shutdown_timeout=_SHUTDOWN_SECONDS,
        max_line_size=_LINE_BYTES,
        max_field_size=_LINE_BYTES,
    )
    try:
        await emulator.start()
        await runner.setup()
        await web.TCPSite(runner, settings.host, settings.port, backlog=1024).start()
        _announce(_address(runner), settings.ready_file)
        # Exclude the objects created at startup from garbage collection.
        gc.collect()
        gc.freeze()
        await asyncio.Event().wait()
    finally:
        await runner.cleanup()
        await emulator.close()


def _stop_on_signals() -> None:
    """Cancel the serving task on the first signal; ignore later ones."""
    loop = asyncio.get_running_loop()
    task = asyncio.current_task(loop)
    is_stopping = False

    def stop() -> None:
        nonlocal is_stopping
        if task is not None and not is_stopping:
            is_stopping = True
            task.cancel()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)


def _address(runner: web.AppRunner) -> str:
    host, port = runner.addresses[0][:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _announce(url: str, ready_file: Path | None) -> None:
    """Print the URL and write the ready file atomically."""
    sys.stdout.write(f"listening on {url}\n")
    sys.stdout.flush()
    if ready_file is not None:
        draft = ready_file.with_name(f"{ready_file.name}.{os.getpid()}")
        draft.write_text(json.dumps({"url": url, "pid": os.getpid()}))
        draft.replace(ready_file)


async def _cut_streams(app: web.Application) -> None:
    """Close live streams with a close frame before shutdown."""
    for stream in list(app[state.EMULATOR].streams):
        stream.cut(is_reset=False)


async def _add_request_id(_request: web.Request, response: web.StreamResponse) -> None:
    """Add a request id to responses without one, such as aiohttp's 404."""
    if "dg-request-id" not in response.headers:
        response.headers["dg-request-id"] = str(uuid.uuid4())
