"""What a load sends: chat completions, or tasks. A load counts what fails and does not mend it."""

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


class Submissions:
    """Submits one graph for each arrival and waits until it has completed."""

    def __init__(self, client: Client, graph: Mapping[str, Any]) -> None:
        self._client = client
        self._graph = graph

    async def __call__(self, arrival: Arrival, heard: Callable[[], None]) -> None:
        """As `openloop.Send`. Raises `TaskFailed`, `GatewayRefused`, `GatewayUnavailable`."""
        await (await self._client.submit(self._graph)).ended()


def chat_body(model: str, arrival: Arrival, *, stream: bool, mock: bool) -> dict[str, Any]:
    """A body with as many words as the arrival has tokens; no two have the same text."""
    words = [f"load-{secrets.token_hex(8)}", *["word"] * ((arrival.prompt_tokens or 1) - 1)]
    body: dict[str, Any] = {"model": model, "messages": [{"role": "user", "content": " ".join(words)}]}
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
