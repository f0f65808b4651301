"""Spans on their way to a collector, by OpenTelemetry's SDK. The SDK reads its own variables."""

from __future__ import annotations

import asyncio
import logging
import threading

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from core.spans import TRACEPARENT, Attributes, Kind

log = logging.getLogger(__name__)

# How long the end of a process waits for a collector.
FLUSH_SECONDS = 3.0
_KINDS = {
    "server": SpanKind.SERVER,
    "producer": SpanKind.PRODUCER,
    "consumer": SpanKind.CONSUMER,
    "client": SpanKind.CLIENT,
}
_propagator = TraceContextTextMapPropagator()


class OtlpSpan:
    """See `core.spans.Span`."""

    __slots__ = ("_span", "recording", "traceparent")

    def __init__(self, span: trace.Span) -> None:
        context = span.get_span_context()
        self._span = span
        self.recording = span.is_recording()
        self.traceparent: str | None = f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"

    def set(self, attributes: Attributes) -> None:
        self._span.set_attributes(_given(attributes))

    def end(self, error: str | None = None) -> None:
        if error is not None:
            self._span.set_attribute("error.type", error)
            self._span.set_status(Status(StatusCode.ERROR))
        self._span.end()


class OtlpTracing:
    """See `core.spans.Tracing`. A thread of the SDK sends what has ended, 512 spans at once, every 5 s. It keeps
    at most 2,048: while the collector is away, spans are dropped, and requests do not wait.
    """

    def __init__(self, service: str) -> None:
        resource = Resource({SERVICE_NAME: service}).merge(OTELResourceDetector().detect())
        self._provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        self._tracer = self._provider.get_tracer("agentos")

    def begin(self, name: str, kind: Kind, attributes: Attributes, parent: str | None) -> OtlpSpan:
        # Not the SDK's own notion of the current span: a task has no way to end its own neatly.
        context = _propagator.extract({TRACEPARENT: parent} if parent else {}, Context())
        span = self._tracer.start_span(name, context, kind=_KINDS[kind], attributes=_given(attributes))
        return OtlpSpan(span)

    async def close(self) -> None:
        # A thread of its own, which the end of the process does not wait for.
        flushing = threading.Thread(target=self._provider.shutdown, name="last spans", daemon=True)
        flushing.start()
        await asyncio.to_thread(flushing.join, FLUSH_SECONDS)
        if flushing.is_alive():
            log.warning("the collector does not answer: the last spans are lost")


def _given(attributes: Attributes) -> dict[str, str | int | float]:
    return {name: value for name, value in attributes.items() if value is not None}
