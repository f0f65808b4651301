"""Where traces go, and what they cost where they go nowhere."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import ConfigurationError
from core.labels import OTHER, Names
from core.spans import NO_SPAN, NO_TRACING, traceparent_of
from core.telemetry import tracing
from tests.fixtures.collector import Collector

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": ""},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1", "OTEL_SDK_DISABLED": "true"},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1", "OTEL_TRACES_EXPORTER": "none"},
    ],
)
def test_without_a_collector_there_is_no_tracing(environ: dict[str, str]) -> None:
    assert tracing("here", environ) is NO_TRACING


@pytest.mark.parametrize("name", ["OTEL_EXPORTER_OTLP_PROTOCOL", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"])
def test_a_protocol_that_is_not_spoken_is_refused_by_name(name: str) -> None:
    with pytest.raises(ConfigurationError, match=name):
        tracing("here", {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1", name: "grpc"})


def test_without_a_collector_a_trace_is_passed_on_as_it_came() -> None:
    span = NO_TRACING.begin("x", "server", {}, PARENT)
    span.set({"a": 1})
    span.end("error")
    assert (span.traceparent, span.recording) == (PARENT, False)
    assert NO_TRACING.begin("x", "server", {}, None) is NO_SPAN


def test_without_a_collector_nothing_of_opentelemetry_is_imported() -> None:
    program = "import sys, coordinator.main, workernode.main; print([m for m in sys.modules if 'opentel' in m])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "hello",
        PARENT + "\r\nx: y",
        PARENT.upper(),
        "ff" + PARENT[2:],
        f"00-{'0' * 32}-b7ad6b7169203331-01",
        f"00-0af7651916cd43dd8448eb211c80319c-{'0' * 16}-01",
        PARENT[:-1],
    ],
)
def test_a_malformed_traceparent_is_none(text: str) -> None:
    assert traceparent_of(text) is None


@given(st.text())
def test_whatever_passes_is_harmless_in_a_header(text: str) -> None:
    assert traceparent_of(text) in (None, text)
    assert traceparent_of(text) is None or len(text) == 55


def test_a_well_formed_traceparent_passes() -> None:
    assert traceparent_of(PARENT) == PARENT


async def test_spans_are_exported_at_the_end_with_name_parent_and_error(monkeypatch: pytest.MonkeyPatch) -> None:
    async with Collector() as collector:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
        traces = tracing("kitchen")
        outer = traces.begin("outer", "server", {"a": 1, "b": None}, PARENT)
        inner = traces.begin("inner", "client", {}, outer.traceparent)
        inner.set({"c": "d", "e": None})
        inner.end("429")
        outer.end()
        await traces.close()
        spans = {span.name: span for span in collector.spans}
    assert spans["outer"].trace_id == spans["inner"].trace_id == "0af7651916cd43dd8448eb211c80319c"
    assert spans["outer"].parent_id == "b7ad6b7169203331"
    assert spans["inner"].parent_id == spans["outer"].span_id
    assert spans["outer"].attributes == {"a": 1}
    assert spans["inner"].attributes == {"c": "d", "error.type": "429"}
    assert (spans["outer"].failed, spans["inner"].failed) == (False, True)
    assert spans["inner"].service == "kitchen"


async def test_a_trace_that_its_client_does_not_sample_is_passed_on_and_not_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with Collector() as collector:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
        traces = tracing("kitchen")
        span = traces.begin("outer", "server", {}, PARENT[:-2] + "00")
        assert span.traceparent is not None
        assert span.traceparent.startswith(PARENT[:36])
        assert span.traceparent.endswith("-00")
        assert not span.recording
        span.end()
        await traces.close()
        assert collector.spans == []


async def test_a_collector_that_is_away_holds_nobody_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1")
    monkeypatch.setattr("core.otlp.FLUSH_SECONDS", 0.2)
    traces = tracing("kitchen")
    # More than the queue holds: what does not fit is dropped.
    for _ in range(3000):
        traces.begin("x", "server", {}, None).end()
    await traces.close()
    # What it left tries on for a second: with the process's own random numbers, in the middle of others' tests.
    for thread in threading.enumerate():
        if thread.name == "last spans":
            await asyncio.to_thread(thread.join)


def test_names_beyond_the_limit_are_counted_as_one() -> None:
    names = Names(2)
    assert [names.of(name) for name in "abcab"] == ["a", "b", OTHER, "a", "b"]
