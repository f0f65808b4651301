"""The spans of a coordinator: a request at the gateway, its message on the way out, its result folded.

Attributes: https://opentelemetry.io/docs/specs/semconv (http, messaging, gen-ai).
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from starlette.types import Scope

from bus.operations import PATHS, Operation
from bus.port import Delivery
from coordinator.exchange import Exchange
from core.spans import TRACEPARENT, Span, Tracing, traceparent_of
from store import OutboxRow


class _Traced(msgspec.Struct):
    """What the relay looks at in an envelope."""

    request_id: str
    traceparent: str | None = None


traced = msgspec.json.Decoder(_Traced).decode


class Traces:
    """`system`: the broker, `pulsar` or `postgresql`."""

    def __init__(self, tracing: Tracing, system: str) -> None:
        self._tracing = tracing
        self._system = system

    def request(self, operation: Operation, scope: Scope) -> Span:
        """A request comes; the client's own trace goes on, if it has one."""
        told = next((value for name, value in scope["headers"] if name == b"traceparent"), b"")
        parent = traceparent_of(told.decode("latin-1"))
        route = f"/v1{PATHS[operation]}"
        attributes = {"http.request.method": "POST", "http.route": route, "gen_ai.operation.name": operation}
        return self._tracing.begin(f"POST {route}", "server", attributes, parent)

    def answered(self, span: Span, model: str, exchange: Exchange) -> None:
        """The request has been answered, or its client has left."""
        if span.recording:
            span.set({"gen_ai.request.model": model, "http.response.status_code": exchange.status})
            # What a client did wrong is no failure of a server.
            faultless = exchange.status < 500 and not exchange.broken
            span.end(None if faultless else exchange.error_type)

    def send(self, topic: str, request_id: str, parent: str | None) -> Span:
        """A message is to leave."""
        return self._tracing.begin(f"send {topic}", "producer", self._message("send", topic, request_id), parent)

    def send_again(self, row: OutboxRow) -> Span:
        """A message that another could not send, or that cannot be known to have been sent."""
        envelope = traced(row.envelope)
        return self.send(row.topic, envelope.request_id, envelope.traceparent)

    def fold(self, topic: str, deliveries: Sequence[Delivery]) -> list[Span]:
        """Results are folded: a span for each that belongs to a trace."""
        parents = (traceparent_of(each.properties.get(TRACEPARENT)) for each in deliveries if each.properties)
        attributes = self._message("process", topic, None)
        return [self._tracing.begin(f"process {topic}", "consumer", attributes, each) for each in parents if each]

    def _message(self, operation: str, topic: str, request_id: str | None) -> dict[str, str | None]:
        return {
            "messaging.system": self._system,
            "messaging.operation.name": operation,
            "messaging.operation.type": operation,
            "messaging.destination.name": topic,
            "messaging.message.conversation_id": request_id,
        }
