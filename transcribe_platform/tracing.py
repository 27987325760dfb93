"""Export the spans of ``jobs.telemetry.tracing`` by OTLP over HTTP.

Loaded only if tracing is on. The platform creates its spans itself, because the beta
instrumentations for Django and Celery do not follow jobs across database rows.
"""

from django.conf import settings
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from jobs.telemetry.tracing import Span, SpanRole, TraceContext, Value

FLUSH_MS = 2000


class OpenTelemetry:
    """The tracer of this process; it exports remaining spans at exit."""

    def __init__(self) -> None:
        resource = Resource.create({"service.name": settings.OTEL_SERVICE_NAME})
        provider = TracerProvider(resource=resource)
        endpoint = f"{settings.OTEL_EXPORTER_OTLP_ENDPOINT}/v1/traces"
        exporter = OTLPSpanExporter(endpoint=endpoint)
        provider.add_span_processor(BatchSpanProcessor(exporter))
        self._provider = provider
        self._tracer = provider.get_tracer("transcribe_platform")

    def start(
        self,
        name: str,
        *,
        kind: SpanRole,
        parent: TraceContext | None,
        attributes: dict[str, Value],
    ) -> Span:
        """Start a span; the SDK's sampler decides whether it is exported."""
        return _Span(
            self._tracer.start_span(
                name,
                context=_build_context(parent) if parent else Context(),
                kind=trace.SpanKind[kind],
                attributes=attributes,
            )
        )

    def flush(self) -> None:
        """Export waiting spans, for processes that end without exit handlers."""
        self._provider.force_flush(FLUSH_MS)


class _Span(Span):
    """Adapts a span of the SDK."""

    def __init__(self, span: trace.Span) -> None:
        self._span = span
        context = span.get_span_context()
        self.context = TraceContext(
            trace_id=trace.format_trace_id(context.trace_id),
            span_id=trace.format_span_id(context.span_id),
            is_sampled=context.trace_flags.sampled,
        )

    def set(self, **attributes: Value | None) -> None:
        for name, value in attributes.items():
            if value is not None:
                self._span.set_attribute(name.replace("__", "."), value)

    def rename(self, name: str) -> None:
        self._span.update_name(name)

    def fail(self, reason: str) -> None:
        self._span.set_attribute("error.type", reason)
        self._span.set_status(trace.StatusCode.ERROR)

    def end(self) -> None:
        self._span.end()


def _build_context(parent: TraceContext) -> Context:
    flags = trace.TraceFlags.SAMPLED if parent.is_sampled else trace.TraceFlags.DEFAULT
    remote = trace.SpanContext(
        trace_id=int(parent.trace_id, 16),
        span_id=int(parent.span_id, 16),
        is_remote=True,
        trace_flags=trace.TraceFlags(flags),
    )
    return trace.set_span_in_context(trace.NonRecordingSpan(remote), Context())
