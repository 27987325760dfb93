"""Determine the duration of the audio at a URL from its first and last bytes.

Writes them to a sparse file of the full size: containers state their duration in one of
the two. Precise enough to choose a route, not to reject a request.
"""

import logging
import re
import tempfile
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from uuid import UUID

import httpx

from jobs.audio import probe
from jobs.egress import policy as egress_policy
from jobs.egress.addresses import EgressAllow, EgressProxy
from jobs.errors import PlatformError
from jobs.parsing.whole_numbers import parse_whole_number
from workers.egress import network

logger = logging.getLogger(__name__)

PROBE_SECONDS = 4.0
HEAD_BYTES = 256 * 1024
TAIL_BYTES = 64 * 1024
MAX_BYTES = 2 * 1024**3  # Deepgram's own limit
_RANGE = re.compile(r"bytes [0-9]+-[0-9]+/([0-9]+)")
_HEADERS = {
    "accept-encoding": "identity",
    "user-agent": "transcription-platform-probe/1",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Part:
    """Some bytes of a file, and the total size in bytes if known."""

    content: bytes
    total: int | None


def find_duration(url: str, *, tenant_id: UUID) -> float | None:
    """Return the seconds of audio at the URL, or None if unknown."""
    try:
        with network.deadline(PROBE_SECONDS), tempfile.NamedTemporaryFile() as file:
            head = _get(url, f"bytes=0-{HEAD_BYTES - 1}", limit=HEAD_BYTES)
            if head.total is None or not 0 < head.total <= MAX_BYTES:
                return None
            file.write(head.content)
            if head.total > HEAD_BYTES:
                tail = _get(url, f"bytes=-{TAIL_BYTES}", limit=TAIL_BYTES)
                file.truncate(head.total)
                file.seek(head.total - len(tail.content))
                file.write(tail.content)
            file.flush()
            return probe.read_declared_seconds(
                Path(file.name), tenant=tenant_id, wait=PROBE_SECONDS
            )
    except (PlatformError, httpx.HTTPError, httpx.InvalidURL) as error:
        logger.info("audio not probed", extra={"reason": type(error).__name__})
        return None


def _get(url: str, byte_range: str, *, limit: int) -> _Part:
    request = httpx.Request("GET", url, headers={**_HEADERS, "range": byte_range})
    response = _transport(
        egress_policy.get_allowlist(), egress_policy.get_proxy()
    ).handle_request(request)
    try:
        is_part = response.status_code == httpx.codes.PARTIAL_CONTENT
        if not is_part and (
            byte_range.startswith("bytes=-") or not response.is_success
        ):
            return _Part(content=b"", total=None)
        content = bytearray()
        for chunk in response.iter_raw():
            content += chunk
            if len(content) >= limit:
                break
    finally:
        response.close()
    stated = _RANGE.fullmatch(response.headers.get("content-range", ""))
    length = stated[1] if stated else response.headers.get("content-length", "")
    total = parse_whole_number(length)
    return _Part(content=bytes(content[:limit]), total=total)


@lru_cache(maxsize=1)
def _transport(guard: EgressAllow, proxy: EgressProxy | None) -> httpx.HTTPTransport:
    return network.build_transport(guard=guard, proxy=proxy, max_connections=20)
