"""What a coordinator tells of a request: its spans, whoever publishes the message; its metrics."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from msgspec import Raw
from prometheus_client import REGISTRY

from bus.messages import RequestMessage, encode
from bus.port import Delivery
from coordinator.exchange import Exchange
from coordinator.metrics import streamed
from coordinator.tracing import Traces
from core.spans import NO_TRACING
from core.telemetry import tracing
from store import Epoch, OutboxRow
from tests.fixtures.collector import Collector

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
TOPIC = "model-m"


def left_behind(traceparent: str | None) -> OutboxRow:
    """The row of a coordinator that is gone."""
    envelope = encode(RequestMessage(request_id="req_1", data=Raw(b"{}"), traceparent=traceparent)).decode()
    return OutboxRow(1, 1, "0", Epoch(0, 0), TOPIC, "s", envelope, "{}", 0.0)


async def nothing(*_: Any) -> Any:
    raise AssertionError("nobody asks")


@pytest.mark.parametrize(
    ("status", "broken", "error"),
    [(200, False, None), (400, False, None), (503, False, "503"), (200, True, "interrupted")],
)
async def test_a_request_has_failed_where_the_fault_is_on_this_side(
    monkeypatch: pytest.MonkeyPatch, status: int, broken: bool, error: str | None
) -> None:
    async with Collector() as collector:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
        spans = tracing("here")
        traces = Traces(spans, "pulsar")
        span = traces.request("embeddings", {"headers": [(b"traceparent", PARENT.encode())]})
        exchange = Exchange(nothing, nothing)
        exchange.status, exchange.broken = status, broken
        traces.answered(span, "m", exchange)
        await spans.close()
    (told,) = collector.spans
    assert (told.failed, told.attributes.get("error.type")) == (error is not None, error)
    assert told.parent_id == "b7ad6b7169203331"
    assert told.attributes["http.response.status_code"] == status
    assert (told.name, told.attributes["gen_ai.operation.name"]) == ("POST /v1/embeddings", "embeddings")


async def test_a_message_that_another_coordinator_publishes_stays_in_its_trace(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with Collector() as collector:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
        spans = tracing("here")
        traces = Traces(spans, "pulsar")
        first = traces.send(TOPIC, "req_1", PARENT)
        traces.send_again(left_behind(first.traceparent)).end("unpublished")
        first.end()
        await spans.close()
    again, told = sorted(collector.spans, key=lambda span: not span.failed)
    assert {again.trace_id, told.trace_id} == {PARENT.split("-")[1]}
    assert again.parent_id == told.span_id
    assert again.attributes["messaging.message.conversation_id"] == "req_1"
    assert again.attributes["error.type"] == "unpublished"


def test_a_row_without_a_trace_is_published_without_one() -> None:
    assert Traces(NO_TRACING, "pulsar").send_again(left_behind(None)).traceparent is None


def test_only_results_of_a_trace_have_a_span() -> None:
    delivered = [
        Delivery("results", b"", properties, 1, None, published_at=1.0)
        for properties in ({}, {"traceparent": PARENT}, {"traceparent": "nonsense"})
    ]
    assert [span.traceparent for span in Traces(NO_TRACING, "pulsar").fold("results", delivered)] == [PARENT]


def test_the_time_of_a_token_is_that_between_two() -> None:
    model = uuid.uuid4().hex
    streamed("text_completion", model, "gpt-x", 11, 2.0)
    streamed("text_completion", model, "gpt-x", 1, 0.0)  # one token has no time between
    labels = {
        "gen_ai_operation_name": "text_completion",
        "gen_ai_provider_name": "agentos",
        "gen_ai_request_model": model,
        "gen_ai_response_model": "gpt-x",
    }
    name = "gen_ai_server_time_per_output_token_seconds"
    assert REGISTRY.get_sample_value(name + "_count", labels) == 1
    assert REGISTRY.get_sample_value(name + "_sum", labels) == pytest.approx(0.2)
