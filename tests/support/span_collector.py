"""An OTLP collector on a real loopback socket: takes protobuf, keeps spans."""

import gzip
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
)

PATH = "/v1/traces"


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """One span as it came."""

    service: str
    name: str
    trace_id: str
    span_id: str
    parent_id: str
    kind: int
    attributes: dict[str, Any]
    is_error: bool
    begins: int
    ends: int


Tree = tuple[str, list[Any]]


class Collector:
    """Listens until closed."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                if self.headers.get("content-encoding") == "gzip":
                    body = gzip.decompress(body)
                is_ours = self.path == PATH
                if is_ours:
                    collector.bodies.append(body)
                self.send_response(200 if is_ours else 404)
                self.end_headers()

            def log_message(self, *_args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def spans(self, trace_id: str = "") -> list[Seen]:
        """Return what came so far, of one trace or of all."""
        found = [span for body in list(self.bodies) for span in read(body)]
        return [span for span in found if trace_id in {"", span.trace_id}]

    def trees(self, trace_id: str) -> list[Tree]:
        """Return the names of a trace's spans, each with those below it."""
        spans = sorted(self.spans(trace_id), key=lambda span: span.begins)
        known = {span.span_id for span in spans}

        def below(parent: Seen) -> Tree:
            inner = [each for each in spans if each.parent_id == parent.span_id]
            return parent.name, [below(each) for each in inner]

        return [below(each) for each in spans if each.parent_id not in known]


def read(body: bytes) -> Iterator[Seen]:
    """Decode one export."""
    for sent in ExportTraceServiceRequest.FromString(body).resource_spans:
        resource = {each.key: each.value for each in sent.resource.attributes}
        for scope in sent.scope_spans:
            for span in scope.spans:
                yield Seen(
                    service=resource["service.name"].string_value,
                    name=span.name,
                    trace_id=span.trace_id.hex(),
                    span_id=span.span_id.hex(),
                    parent_id=span.parent_span_id.hex(),
                    kind=span.kind,
                    attributes={it.key: _value(it.value) for it in span.attributes},
                    is_error=span.status.code == 2,
                    begins=span.start_time_unix_nano,
                    ends=span.end_time_unix_nano,
                )


def _value(value: Any) -> Any:
    return getattr(value, value.WhichOneof("value"))


@contextmanager
def collecting() -> Iterator[Collector]:
    """Listen while the block runs."""
    collector = Collector()
    try:
        yield collector
    finally:
        collector.close()
