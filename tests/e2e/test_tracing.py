"""One trace from the client's own span to the provider and the fold, as a collector is told of it."""

from __future__ import annotations

import asyncio
import json
import re
import uuid
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
import openai
import pytest
import pytest_asyncio

from bus.port import Outgoing
from bus.topics import model_topic
from tests.double.answers import WORDS
from tests.double.scripts import refuse
from tests.double.server import Provider
from tests.e2e.asking import ANSWER, QUESTION, ask
from tests.fixtures.collector import Collector, Told
from tests.fixtures.fleet import PATIENCE, Fleet, Site, until

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.xdist_group("e2e-tracing")]

SECRET = "sk-a-key-that-nobody-may-see"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def collector() -> AsyncIterator[Collector]:
    async with Collector() as collector:
        yield collector


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def fleet(
    site: Site, module_provider: Provider, collector: Collector, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Fleet]:
    directory: Path = tmp_path_factory.mktemp("fleet")
    told = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, "OTEL_BSP_SCHEDULE_DELAY": "100"}
    with Fleet(site, directory) as fleet:
        worker = fleet.worker(API_URL=module_provider.url, API_KEY=SECRET, **told)
        await fleet.start(fleet.coordinator(**told), worker)
        yield fleet


@pytest_asyncio.fixture(loop_scope="module")
async def client(fleet: Fleet, upstream: Provider) -> AsyncIterator[openai.AsyncOpenAI]:
    async with fleet.client() as client:
        yield client


@pytest.fixture
def parent() -> str:
    """A client's own context."""
    return f"00-{uuid.uuid4().hex}-{uuid.uuid4().hex[:16]}-01"


def whole(parent: str, number: int) -> Callable[[list[Told]], bool]:
    """Whether so many spans of the client's trace are there."""
    return lambda spans: len(of(spans, parent)) >= number


def of(spans: list[Told], parent: str) -> list[Told]:
    return [span for span in spans if span.trace_id == parent.split("-")[1]]


async def traced(collector: Collector, parent: str, number: int) -> dict[str, Told]:
    """The spans of a client's trace by name, once so many are there."""
    spans = of(await collector.wait_for(whole(parent, number), f"{number} spans of the trace"), parent)
    assert len(spans) == number
    return {span.name: span for span in spans}


@pytest.mark.parametrize("stream", [False, True])
async def test_one_trace_leads_from_the_client_to_the_provider_and_the_fold(
    fleet: Fleet, client: openai.AsyncOpenAI, upstream: Provider, collector: Collector, parent: str, stream: bool
) -> None:
    answer: Any = await client.chat.completions.create(
        model=fleet.model, messages=QUESTION, stream=stream, extra_headers={"traceparent": parent}
    )
    if stream:
        assert [chunk async for chunk in answer]
    spans = await traced(collector, parent, 5)
    topic = model_topic(fleet.model)
    road = ["POST /v1/chat/completions", f"send {topic}", f"process {topic}", f"chat {fleet.model}"]
    parents = [parent.split("-")[2], *(spans[name].span_id for name in road)]
    assert [spans[name].parent_id for name in road] == parents[:-1]
    assert [spans[name].kind for name in road] == ["server", "producer", "consumer", "client"]
    fold = spans[f"process {fleet.result_topic}"]
    assert (fold.parent_id, fold.kind) == (spans[f"process {topic}"].span_id, "consumer")
    assert not any(span.failed for span in spans.values())
    call = spans[f"chat {fleet.model}"]
    assert upstream.calls[0].headers["traceparent"] == f"00-{call.trace_id}-{call.span_id}-01"


async def test_whoever_watches_the_broker_sees_the_trace_in_the_messages_properties(
    fleet: Fleet, client: openai.AsyncOpenAI, upstream: Provider, parent: str
) -> None:
    bus = await fleet.bus()
    eyes = await bus.subscribe(model_topic(fleet.model), "eyes", window=1)
    await client.chat.completions.create(model=fleet.model, messages=QUESTION, extra_headers={"traceparent": parent})
    seen = ""
    async with asyncio.timeout(PATIENCE):
        while parent.split("-")[1] not in seen:  # what the broker has kept of earlier requests comes first
            deliveries = await eyes.receive()
            seen += " ".join(delivery.properties.get("traceparent", "") for delivery in deliveries)
            await eyes.ack(deliveries)
    await bus.close()


async def test_the_call_has_the_conventions_attributes(
    fleet: Fleet, client: openai.AsyncOpenAI, upstream: Provider, collector: Collector, parent: str
) -> None:
    await client.chat.completions.create(model=fleet.model, messages=QUESTION, extra_headers={"traceparent": parent})
    spans = await traced(collector, parent, 5)
    call = spans[f"chat {fleet.model}"]
    assert call.attributes == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": fleet.model,
        "gen_ai.response.model": fleet.model,
        "gen_ai.response.id": "chatcmpl-double",
        "gen_ai.usage.input_tokens": 4,
        "gen_ai.usage.output_tokens": len(WORDS),
        "http.response.status_code": 200,
        "server.address": "127.0.0.1",
        "server.port": int(upstream.url.rpartition(":")[2]),
    }
    assert call.service == "agentos-worker"
    server = spans["POST /v1/chat/completions"]
    assert server.attributes["http.response.status_code"] == 200
    assert server.service == "agentos-coordinator"
    system = "pulsar" if "pulsar_url" in fleet.site.bus else "postgresql"
    assert spans[f"send {model_topic(fleet.model)}"].attributes["messaging.system"] == system


async def test_an_attempt_that_failed_is_a_span_of_its_own(
    fleet: Fleet, client: openai.AsyncOpenAI, upstream: Provider, collector: Collector, parent: str
) -> None:
    upstream.script(refuse(500, None))
    await client.chat.completions.create(model=fleet.model, messages=QUESTION, extra_headers={"traceparent": parent})
    # Two attempts of process, call and fold; one request, sent once.
    spans = of(await collector.wait_for(whole(parent, 8), "8 spans of the trace"), parent)
    calls = [span for span in spans if span.kind == "client"]
    assert sorted(call.attributes.get("error.type", "") for call in calls) == ["", "500"]
    assert [call.failed for call in calls if "error.type" in call.attributes] == [True]


async def test_a_request_without_a_trace_begins_one(
    fleet: Fleet, client: openai.AsyncOpenAI, upstream: Provider, collector: Collector
) -> None:
    assert await ask(client, fleet.model) == ANSWER
    sent = upstream.calls[0].headers["traceparent"]
    spans = await traced(collector, sent, 5)
    assert spans["POST /v1/chat/completions"].parent_id == ""


async def test_a_program_that_publishes_itself_names_its_trace_in_a_property(
    fleet: Fleet, upstream: Provider, collector: Collector, parent: str
) -> None:
    bus = await fleet.bus()
    message = {"request_id": uuid.uuid4().hex, "stream": False, "data": {"model": "x", "messages": QUESTION}}
    publisher = await bus.publisher(model_topic(fleet.model))
    await publisher.publish([Outgoing(json.dumps(message).encode(), {"traceparent": parent})])
    await bus.close()
    spans = await traced(collector, parent, 3)
    assert spans[f"process {model_topic(fleet.model)}"].parent_id == parent.split("-")[2]


async def test_a_header_that_is_no_traceparent_harms_nobody(
    fleet: Fleet, client: openai.AsyncOpenAI, upstream: Provider
) -> None:
    headers = {"traceparent": "00-" + "z" * 200}
    await client.chat.completions.create(model=fleet.model, messages=QUESTION, extra_headers=headers)
    assert re.fullmatch("00-[0-9a-f]{32}-[0-9a-f]{16}-0[13]", upstream.calls[0].headers["traceparent"])


async def test_nothing_that_was_exported_holds_content_or_keys(
    fleet: Fleet, client: openai.AsyncOpenAI, upstream: Provider, collector: Collector, parent: str
) -> None:
    marked: list[Any] = [{"role": "user", "content": "an-unmistakable-prompt"}]
    await client.chat.completions.create(
        model=fleet.model, messages=marked, user="somebody", extra_headers={"traceparent": parent}
    )
    await traced(collector, parent, 5)
    exported = b"".join(collector.bodies)
    assert parent.split("-")[1] in {span.trace_id for span in collector.spans}
    for secret in ("unmistakable", SECRET, "somebody", "Water", "boils"):
        assert secret.encode() not in exported


async def test_metrics_have_the_conventions_names_and_labels(
    fleet: Fleet, client: openai.AsyncOpenAI, upstream: Provider
) -> None:
    stream = await client.chat.completions.create(model=fleet.model, messages=QUESTION, stream=True)
    assert [chunk async for chunk in stream]
    worker = next(each for each in fleet._daemons if each.name.startswith("worker"))
    model = re.escape(f'gen_ai_request_model="{fleet.model}"')
    for name, url in (
        ("gen_ai_client_token_usage_count", worker.url),
        ("gen_ai_client_operation_duration_seconds_count", worker.url),
        ("gen_ai_server_request_duration_seconds_count", fleet.url),
        ("gen_ai_server_time_to_first_token_seconds_count", fleet.url),
        ("gen_ai_server_time_per_output_token_seconds_count", fleet.url),
    ):
        await until(partial(_counted, url, rf"^{name}{{[^}}]*{model}[^}}]*}} [1-9]"), f"{name} has counted")
    assert "unmistakable" not in await _metrics(worker.url) + await _metrics(fleet.url)


async def _counted(url: str, pattern: str) -> bool:
    return re.search(pattern, await _metrics(url), re.MULTILINE) is not None


async def _metrics(url: str) -> str:
    async with aiohttp.ClientSession() as session, session.get(url + "/metrics") as response:
        return await response.text()
