"""Compress responses with zstd or gzip, for clients that accept them.

Not responses that may contain a secret beside text of the caller (``no-store``, and
pages of a session), because their length would reveal it (https://breachattack.com);
not streams, and not what fits into one packet.
"""

import gzip
from collections.abc import Callable

import zstandard
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.utils.cache import patch_vary_headers

MIN_BYTES = 1400
_TYPES = ("application/json", "application/problem+json", "application/xml", "text/")
_GZIP_LEVEL = 4
_ZSTD_LEVEL = 3


class CompressionMiddleware:
    """Compress what is worth it."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        """Compress the content and set ``Content-Encoding``."""
        response = self.get_response(request)
        if not isinstance(response, HttpResponse) or not _is_compressible(response):
            return response
        patch_vary_headers(response, ["Accept-Encoding"])
        coding = choose_coding(request.headers.get("Accept-Encoding", ""))
        if coding is None:
            return response
        response.content = _CODERS[coding](response.content)
        response.headers["Content-Encoding"] = coding
        response.headers["Content-Length"] = str(len(response.content))
        return response


def choose_coding(accepted: str) -> str | None:
    """Return the coding that an ``Accept-Encoding`` prefers: zstd, gzip or None."""
    weights: dict[str, float] = {}
    for part in accepted.lower().split(","):
        name, _, parameter = part.partition(";")
        weights[name.strip()] = _parse_weight(parameter)
    found = [(weights[name], name) for name in _CODERS if weights.get(name)]
    # The first of those with the same weight.
    return max(found, key=lambda pair: pair[0])[1] if found else None


def _parse_weight(parameter: str) -> float:
    name, _, value = parameter.partition("=")
    try:
        return float(value) if name.strip() == "q" else 1.0
    except ValueError:
        return 0.0


def _is_compressible(response: HttpResponse) -> bool:
    headers = response.headers
    return (
        len(response.content) >= MIN_BYTES
        and headers.get("Content-Type", "").startswith(_TYPES)
        and not headers["Content-Type"].startswith("text/event-stream")
        and "Content-Encoding" not in headers
        and "no-store" not in headers.get("Cache-Control", "")
        and "cookie" not in headers.get("Vary", "").lower()
    )


def _compress_zstd(content: bytes) -> bytes:
    # A compressor must not be used by several threads at the same time.
    return zstandard.ZstdCompressor(level=_ZSTD_LEVEL).compress(content)


def _compress_gzip(content: bytes) -> bytes:
    return gzip.compress(content, _GZIP_LEVEL, mtime=0)


_CODERS: dict[str, Callable[[bytes], bytes]] = {
    "zstd": _compress_zstd,
    "gzip": _compress_gzip,
}
