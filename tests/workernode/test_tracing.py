"""Which trace an attempt belongs to, and what goes upstream, where nobody collects."""

from __future__ import annotations

import msgspec
import pytest

from bus.messages import RequestMessage
from bus.port import Delivery
from core.spans import NO_TRACING
from workernode.results import Ended
from workernode.tracing import Traces

FIELD = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
PROPERTY = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
TRACES = Traces(NO_TRACING, model="m", provider="mock", system="pulsar")


@pytest.mark.parametrize(
    ("field", "properties", "goes_on"),
    [
        (FIELD, {"traceparent": PROPERTY}, FIELD),
        (None, {"traceparent": PROPERTY}, PROPERTY),
        (None, {"traceparent": "00-nonsense\r\n"}, None),
        (None, {}, None),
    ],
)
def test_a_trace_goes_on_from_the_field_or_the_property(
    field: str | None, properties: dict[str, str], goes_on: str | None
) -> None:
    request = RequestMessage(request_id="r", data=msgspec.Raw(b"{}"), traceparent=field)
    trace = TRACES.begin(request, Delivery("t", b"", properties, 1, None, published_at=1.0), "chat")
    assert trace.traceparent == goes_on
    assert trace.calling() == ({"traceparent": goes_on} if goes_on else {})
    trace.end(Ended("completed", True, 1.0, 2.0))
