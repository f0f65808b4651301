"""The spans of an attempt: the message as it is processed, and within that the call to the provider.

Attributes: https://opentelemetry.io/docs/specs/semconv/gen-ai/gen-ai-spans and …/messaging/messaging-spans.
"""

from __future__ import annotations

from bus.messages import RequestMessage
from bus.operations import Operation
from bus.port import Delivery
from core.spans import NO_SPAN, NO_TRACING, TRACEPARENT, Span, Tracing, traceparent_of
from workernode.callmetrics import error_type
from workernode.results import Ended


class Traces:
    """Of one worker. `provider`: see `workernode.provider`; `system`: the broker, `pulsar` or `postgresql`."""

    def __init__(self, tracing: Tracing, *, model: str, provider: str, system: str) -> None:
        self._tracing = tracing
        self._model = model
        self._provider = provider
        self._system = system
        self._untraced = AttemptTrace(self, "chat", NO_SPAN)

    def begin(self, request: RequestMessage, delivery: Delivery, operation: Operation) -> AttemptTrace:
        """The attempt begins. The message's field says to which trace it belongs, else its property."""
        parent = traceparent_of(request.traceparent or delivery.properties.get(TRACEPARENT))
        if self._tracing is NO_TRACING and parent is None:
            return self._untraced
        attributes = {
            "messaging.system": self._system,
            "messaging.operation.name": "process",
            "messaging.operation.type": "process",
            "messaging.destination.name": delivery.topic,
            "messaging.message.conversation_id": request.request_id,
        }
        span = self._tracing.begin(f"process {delivery.topic}", "consumer", attributes, parent)
        return AttemptTrace(self, operation, span)

    def call(self, operation: Operation, parent: str | None) -> Span:
        """The call begins."""
        attributes = {
            "gen_ai.operation.name": operation,
            "gen_ai.provider.name": self._provider,
            "gen_ai.request.model": self._model,
        }
        return self._tracing.begin(f"{operation} {self._model}", "client", attributes, parent)


class AttemptTrace:
    """One attempt's spans. `traceparent`: to go with its result event."""

    __slots__ = ("_call", "_message", "_operation", "_traces")

    def __init__(self, traces: Traces, operation: Operation, message: Span) -> None:
        self._traces = traces
        self._operation = operation
        self._message = message
        self._call: Span = NO_SPAN

    @property
    def traceparent(self) -> str | None:
        """The attempt's own context."""
        return self._message.traceparent

    def calling(self) -> dict[str, str]:
        """The call to the provider begins; the headers that tell it of the trace."""
        self._call = self._traces.call(self._operation, self._message.traceparent)
        return {} if self._call.traceparent is None else {TRACEPARENT: self._call.traceparent}

    def end(self, ended: Ended) -> None:
        """The attempt is over, and with it its call, if there was one."""
        error = error_type(ended)
        if self._call.recording:
            self._call.set(_told(ended))
            self._call.end(error)
        self._message.end(error)


def _told(ended: Ended) -> dict[str, str | int | None]:
    provider = ended.progress.provider()
    used = ended.usage if ended.usage.total_tokens else None
    host, _, port = (provider.address or "").rpartition(":") if provider else ("", "", "")
    return {
        "gen_ai.response.model": provider.model if provider else None,
        "gen_ai.response.id": provider.response_id if provider else None,
        "gen_ai.usage.input_tokens": used.prompt_tokens if used else None,
        "gen_ai.usage.output_tokens": used.completion_tokens if used else None,
        "http.response.status_code": provider.status if provider else None,
        "server.address": host or None,
        "server.port": int(port) if port else None,
    }
