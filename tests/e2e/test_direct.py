"""The earlier system's way: a program publishes to `model-<name>` itself and is answered at its own endpoint."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pulsar
import pytest
import pytest_asyncio
from aiohttp import WSMsgType, web

from bus.port import DEAD_LETTER_SUBSCRIPTION, REASON_PROPERTY, Bus, Outgoing, dead_letter_topic
from tests.double.answers import WORDS
from tests.double.scripts import HALF_STREAM, Step, refuse
from tests.double.server import Provider
from tests.fixtures.fleet import Fleet, Site

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.xdist_group("e2e-direct")]

Publish = Callable[[list[dict[str, Any]]], Awaitable[None]]
BODY = {"model": "whatever", "messages": [{"role": "user", "content": "When does water boil?"}]}
USAGE = {"prompt_tokens": 4, "completion_tokens": len(WORDS), "total_tokens": 4 + len(WORDS)}
PATIENCE = 20.0


class Program:
    """Somebody's program: its endpoint takes plain answers by POST and streamed ones over a WebSocket."""

    def __init__(self) -> None:
        self._answers: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._runner = web.AppRunner(self._app())
        self.url = ""

    async def start(self) -> None:
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}/callback"

    async def close(self) -> None:
        await self._runner.cleanup()

    async def answer(self) -> dict[str, Any]:
        """The next POST's body, or the next WebSocket message."""
        async with asyncio.timeout(PATIENCE):
            return await self._answers.get()

    async def stream(self) -> list[dict[str, Any]]:
        """Messages up to the last."""
        messages = [await self.answer()]
        while not messages[-1]["end"]:
            messages.append(await self.answer())
        return messages

    def _app(self) -> web.Application:
        app = web.Application()
        app.router.add_post("/callback", self._post)
        app.router.add_get("/callback", self._socket)
        return app

    async def _post(self, request: web.Request) -> web.Response:
        assert request.content_type == "application/json"
        self._answers.put_nowait(await request.json())
        return web.Response()

    async def _socket(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        async for message in socket:
            assert message.type is WSMsgType.TEXT
            self._answers.put_nowait(json.loads(message.data))
        return socket


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def fleet(
    site: Site, module_provider: Provider, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Fleet]:
    """A worker alone, started as the earlier system's was, with the earlier system's variables."""
    directory: Path = tmp_path_factory.mktemp("fleet")
    worker = {
        "API_URL": module_provider.url + "/v1",
        "API_KEY": "sk-test",
        "MAX_PROCESS_NUM": "4",
        "DEBUG": "false",
        "PULSAR_TOKEN": "",
        "AIMODEL_NAME": "water",
        "AIMODEL_NAMESPACE": "kitchen",
        "AGENTOS_MAX_ATTEMPTS": "1",
    }
    with Fleet(site, directory) as fleet:
        await fleet.start(fleet.worker(command=["WorkerNode.py"], **worker))
        yield fleet


@pytest_asyncio.fixture(loop_scope="module")
async def bus(fleet: Fleet) -> AsyncIterator[Bus]:
    bus = await fleet.bus()
    yield bus
    await bus.close()


@pytest.fixture
def topic(fleet: Fleet) -> str:
    return "model-" + quote(fleet.model, safe="")


@pytest_asyncio.fixture(loop_scope="module")
async def program() -> AsyncIterator[Program]:
    program = Program()
    await program.start()
    yield program
    await program.close()


@pytest_asyncio.fixture(loop_scope="module")
async def publish(fleet: Fleet, bus: Bus, topic: str, upstream: Provider) -> Publish:
    """Publishes as the programs in use do; on Pulsar with a producer that batches, as those of Go and Java do."""

    async def on_the_bus(messages: list[dict[str, Any]]) -> None:
        publisher = await bus.publisher(topic)
        await publisher.publish([Outgoing(json.dumps(message).encode()) for message in messages])

    async def on_pulsar(messages: list[dict[str, Any]]) -> None:
        await asyncio.to_thread(publish_batch, fleet.site.bus["pulsar_url"], topic, messages)

    return on_pulsar if "pulsar_url" in fleet.site.bus else on_the_bus


def publish_batch(url: str, topic: str, messages: list[dict[str, Any]]) -> None:
    client = pulsar.Client(url, logger=pulsar.ConsoleLogger(pulsar.LoggerLevel.Error))
    producer = client.create_producer(
        topic, batching_enabled=True, batching_max_publish_delay_ms=100, max_pending_messages=1000
    )
    for message in messages:
        producer.send_async(json.dumps(message).encode(), None)
    producer.flush()
    client.close()


@pytest_asyncio.fixture(loop_scope="module")
async def results(fleet: Fleet, bus: Bus) -> AsyncIterator[Callable[[str], Awaitable[dict[str, Any]]]]:
    """The result message of a request, as a program reads it that consumes the result topic."""
    subscription = await bus.subscribe(fleet.result_topic, f"reader-{uuid.uuid4().hex}", window=100)

    async def result(request_id: str) -> dict[str, Any]:
        async with asyncio.timeout(PATIENCE):
            while True:
                for delivery in await subscription.receive():
                    await subscription.ack([delivery])
                    message: dict[str, Any] = json.loads(delivery.body)
                    if message["request_id"] == request_id:
                        return message

    yield result
    await subscription.close()


def request(endpoint: str | None, *, stream: bool = False, **more: Any) -> dict[str, Any]:
    """The message that contracts.md gives, `metadata` left out."""
    message = {"request_id": uuid.uuid4().hex, "stream": stream, "data": BODY | {"stream": stream}, **more}
    return message if endpoint is None else {**message, "endpoint": endpoint}


Results = Callable[[str], Awaitable[dict[str, Any]]]


@pytest.mark.parametrize("more", [{}, {"metadata": {"headers": {"X-Trace": ["a", "b"]}}}, {"field_of_2031": [1]}])
async def test_a_plain_answer_is_posted_to_the_endpoint(
    publish: Publish, program: Program, results: Results, fleet: Fleet, more: dict[str, Any]
) -> None:
    message = request(program.url, **more)
    await publish([message])
    answer = await program.answer()
    assert set(answer) == {"request_id", "data"}
    assert answer["request_id"] == message["request_id"]
    assert answer["data"]["choices"][0]["message"]["content"] == "".join(WORDS)
    result = await results(message["request_id"])
    assert {key: result["usage"][key] for key in USAGE} == USAGE
    assert (result["model"], result["ai_model_name"], result["ai_model_namespace"]) == (
        fleet.model,
        "water",
        "kitchen",
    )
    assert "response" not in result


@pytest.mark.parametrize("scheme", ["http", "ws"])
async def test_a_streamed_answer_comes_over_a_websocket(
    publish: Publish, program: Program, results: Results, scheme: str
) -> None:
    message = request(program.url.replace("http", scheme), stream=True)
    await publish([message])
    chunks = await program.stream()
    assert {chunk["request_id"] for chunk in chunks} == {message["request_id"]}
    assert [chunk["end"] for chunk in chunks] == [False] * (len(chunks) - 1) + [True]
    said = [choice["delta"].get("content", "") for chunk in chunks for choice in chunk.get("data", EMPTY)["choices"]]
    assert "".join(said) == "".join(WORDS)
    result = await results(message["request_id"])
    assert {key: result["usage"][key] for key in USAGE} == USAGE


EMPTY: dict[str, list[Any]] = {"choices": []}


async def test_an_upstream_that_cannot_stream_is_still_answered_in_the_streams_form(
    publish: Publish, program: Program, upstream: Provider
) -> None:
    upstream.script(Step("plain"))
    await publish([request(program.url, stream=True)])
    chunks = await program.stream()
    said = [choice["delta"].get("content", "") for chunk in chunks for choice in chunk.get("data", EMPTY)["choices"]]
    assert "".join(said) == "".join(WORDS)


async def test_an_error_is_posted_as_an_openai_error_object(
    publish: Publish, program: Program, results: Results, upstream: Provider
) -> None:
    upstream.script(refuse(400, "context_length_exceeded"))
    message = request(program.url)
    await publish([message])
    answer = await program.answer()
    assert answer["request_id"] == message["request_id"]
    assert answer["data"]["error"]["code"] == "context_length_exceeded"
    result = await results(message["request_id"])
    assert (result["outcome"], result["status"]) == ("failed", 400)


async def test_an_error_ends_a_stream(publish: Publish, program: Program, upstream: Provider) -> None:
    upstream.script(HALF_STREAM)
    await publish([request(program.url, stream=True)])
    *chunks, last = await program.stream()
    assert chunks
    assert last["data"]["error"]["code"] == "upstream_incomplete"


async def test_without_an_endpoint_the_result_topic_alone_tells(publish: Publish, results: Results) -> None:
    message = request(None)
    await publish([message])
    result = await results(message["request_id"])
    assert (result["outcome"], result["request_id"]) == ("completed", message["request_id"])
    assert {key: result["usage"][key] for key in USAGE} == USAGE


@pytest.mark.parametrize("stream", [False, True])
async def test_an_endpoint_that_is_gone_costs_the_worker_nothing(
    publish: Publish, program: Program, results: Results, stream: bool
) -> None:
    lost, fine = request("http://127.0.0.1:1/nobody", stream=stream), request(program.url)
    await publish([lost, fine])
    assert (await program.answer())["request_id"] == fine["request_id"]
    assert (await results(lost["request_id"]))["outcome"] == "completed"


async def test_many_published_at_once_are_each_answered_once(
    publish: Publish, program: Program, upstream: Provider
) -> None:
    messages = [request(program.url) for _ in range(50)]
    await publish(messages)
    answers = [(await program.answer())["request_id"] for _ in messages]
    assert sorted(answers) == sorted(message["request_id"] for message in messages)
    assert len(upstream.calls) == 50


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"hello", "malformed"),
        (b"\xff\x00\xfe", "not a request message"),
        (b'{"stream": false, "data": {}}', "request_id"),
        (b'{"request_id": 7, "data": {}}', "$.request_id"),
        (b'{"request_id": "x", "data": "text"}', "$.data"),
        (b'{"request_id": "x", "data": {}, "stream": "yes"}', "$.stream"),
    ],
)
async def test_what_is_no_request_goes_to_the_dead_letters_with_the_reason(
    bus: Bus, topic: str, program: Program, publish: Publish, body: bytes, reason: str
) -> None:
    letters = dead_letter_topic(topic, topic + "-subscription")
    subscription = await bus.subscribe(letters, DEAD_LETTER_SUBSCRIPTION, window=10)
    await (await bus.publisher(topic)).publish([Outgoing(body)])
    async with asyncio.timeout(PATIENCE):
        (letter,) = await subscription.receive()
    await subscription.ack([letter])
    await subscription.close()
    assert letter.body == body
    assert reason in letter.properties[REASON_PROPERTY]
    await publish([request(program.url)])
    assert "data" in await program.answer()
