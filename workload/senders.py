"""What a load sends: chats, requests of a pipeline, or tasks. A load counts what fails and does not mend it."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from typing import Any

import aiohttp
import msgspec

from workload.arrivals import Arrival
from workload.client import Client
from workload.door import Door, Lost
from workload.errors import GatewayRefused
from workload.passage import Passage, passage_of
from workload.pipelines import path_of, request_body, waiting
from workload.sse import Parser

PATH = "/v1/chat/completions"
# Longer than any answer that is waited for.
SILENCE_SECONDS = 600.0


class Chats:
    """Sends chat completions of `model` for an open loop. `mock`: it is told how much to say, as mocks can be."""

    def __init__(self, door: Door, model: str, *, stream: bool, mock: bool) -> None:
        self._door = door
        self._model = model
        self._stream = stream
        self._mock = mock

    async def __call__(self, arrival: Arrival, heard: Callable[[], None]) -> None:
        """As `openloop.Send`. Raises `GatewayRefused`, `GatewayUnavailable`."""
        body = chat_body(self._model, arrival, stream=self._stream, mock=self._mock)
        await chat(self._door, body, heard)


class Requests:
    """Sends requests of a pipeline; each waits for its end, at most `wait` seconds.

    Its input is a text with as many words as the arrival has tokens. `slo_seconds`: in place of the pipeline's.
    """

    def __init__(self, door: Door, pipeline: str, *, slo_seconds: float | None, wait: float) -> None:
        self._door = door
        self._path = path_of(pipeline) + "/requests"
        self._slo_seconds = slo_seconds
        self._headers = waiting(wait)
        self._silence = wait + SILENCE_SECONDS

    async def __call__(self, arrival: Arrival, heard: Callable[[], None]) -> Passage:
        """As `openloop.Send`. Raises `GatewayRefused`, `GatewayUnavailable`, `BadMessage`."""
        body = request_body(text_for(arrival), self._slo_seconds)
        asked = self._door.asked("POST", self._path, body, self._headers, silence=self._silence)
        async with asked as response:
            return passage_of(await response.read())


class Submissions:
    """Submits one graph for each arrival and waits until it has completed."""

    def __init__(self, client: Client, graph: Mapping[str, Any]) -> None:
        self._client = client
        self._graph = graph

    async def __call__(self, arrival: Arrival, heard: Callable[[], None]) -> None:
        """As `openloop.Send`. Raises `TaskFailed`, `GatewayRefused`, `GatewayUnavailable`."""
        await (await self._client.submit(self._graph)).ended()


def text_for(arrival: Arrival) -> str:
    """As many words as the arrival has tokens; no two texts are the same."""
    return " ".join([f"load-{secrets.token_hex(8)}", *["word"] * ((arrival.prompt_tokens or 1) - 1)])


def chat_body(model: str, arrival: Arrival, *, stream: bool, mock: bool) -> dict[str, Any]:
    """A body that asks with the arrival's text, for an answer of its length."""
    body: dict[str, Any] = {"model": model, "messages": [{"role": "user", "content": text_for(arrival)}]}
    if arrival.answer_tokens is not None:
        body["max_completion_tokens"] = max(1, arrival.answer_tokens)
        if mock:
            body["agentos_mock"] = {"words": arrival.answer_tokens}
    return body | ({"stream": True} if stream else {})


async def chat(door: Door, body: dict[str, Any], heard: Callable[[], None]) -> None:
    """Has one request answered. `heard` is called with each part of a stream that holds text."""
    async with door.asked("POST", PATH, msgspec.json.encode(body), silence=SILENCE_SECONDS) as response:
        if body.get("stream"):
            await _read(response, heard)
        else:
            await response.read()


async def _read(response: aiohttp.ClientResponse, heard: Callable[[], None]) -> None:
    parser = Parser()
    async for received in response.content.iter_any():
        for sent in parser.feed(received):
            if sent.data == "[DONE]":
                return
            chunk = msgspec.json.decode(sent.data)
            if error := chunk.get("error"):
                raise GatewayRefused(response.status, error)
            if any(choice.get("delta", {}).get("content") for choice in chunk.get("choices", [])):
                heard()
    raise Lost("the stream ended before its answer did", code="stream_interrupted")
