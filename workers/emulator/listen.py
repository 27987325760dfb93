"""The door of `POST /v1/listen`: every call gets an answer and an end in the journal.

The live WebSocket, which shares the path, is not here.
"""

import asyncio
import logging

from aiohttp import web

from workers.emulator import calls, journal, refusals, state

LOGGER = logging.getLogger(__name__)


async def listen(request: web.Request) -> web.StreamResponse:
    """Answer one prerecorded call."""
    call = calls.Call(request.app[state.EMULATOR], request)
    try:
        return await call.answer()
    except refusals.Refused as refused:
        return call.refuse(refused.refusal)
    except asyncio.CancelledError:
        call.close(status=calls.CLIENT_GONE, outcome=journal.Outcome.ABORTED)
        raise
    except Exception:
        LOGGER.exception("call failed", extra={"request_id": call.request_id})
        return call.refuse(refusals.INTERNAL)
    finally:
        call.leave()
