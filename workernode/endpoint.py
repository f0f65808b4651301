"""Replies to a message's `endpoint`: HTTP POST for plain requests, a WebSocket for streamed ones.

The formats are those of the earlier system: `{"request_id", "data"}` by POST; over the WebSocket one text message a
chunk, `{"request_id", "end": false, "data"}`, the last with `"end": true`. An error goes the same way, with the
OpenAI error object as `data`.

A reply that the endpoint does not take is dropped with a warning: the result topic tells all the same. What the
endpoint answers is not read.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import aiohttp
import msgspec
from prometheus_client import Counter

from bus import messages
from bus.messages import EndpointChunk, EndpointReply, RequestMessage
from workernode.errors import EndpointRefused

log = logging.getLogger(__name__)

UNREPLIED = Counter("agentos_worker_endpoint_replies_dropped", "Replies that an endpoint did not get.", ["reason"])

POST_TRIES = 3
POST_PAUSE_SECONDS = 0.2
# A whole plain reply with its tries; of a streamed one the opening, each chunk, and all that is left at its end.
REPLY_SECONDS = 30.0
UNSENT_CHUNKS = 10_000
# The largest message that an endpoint may send us over the WebSocket.
ANSWER_BYTES = 1 << 12


def websocket_address(endpoint: str) -> str:
    """ws:// as it is; an http:// address means the same host by ws://."""
    parts = urlsplit(endpoint)
    scheme = {"http": "ws", "https": "wss"}.get(parts.scheme, parts.scheme)
    return urlunsplit(parts._replace(scheme=scheme))


def post_address(endpoint: str) -> str:
    """http:// as it is; a ws:// address means the same host by http://."""
    parts = urlsplit(endpoint)
    scheme = {"ws": "http", "wss": "https"}.get(parts.scheme, parts.scheme)
    return urlunsplit(parts._replace(scheme=scheme))


def _dropped(request_id: str, error: Exception | str) -> None:
    refused = isinstance(error, EndpointRefused)
    UNREPLIED.labels("refused" if refused else "failed").inc()
    why = error if refused or isinstance(error, str) else type(error).__name__
    log.warning("request %s: the endpoint did not take the reply: %s", request_id, why)


def _error(error: dict[str, Any]) -> msgspec.Raw:
    return msgspec.Raw(msgspec.json.encode({"error": error}))


class EndpointPost:
    """A plain answer, POSTed; tried again a few times, since the call has been paid for."""

    started = False

    def __init__(self, session: aiohttp.ClientSession, request: RequestMessage, endpoint: str) -> None:
        self._session = session
        self._request_id = request.request_id
        self._address = post_address(endpoint)

    def chunk(self, data: bytes) -> None:
        """A plain request has no chunks."""

    async def answer(self, response: bytes) -> None:
        await self._post(msgspec.Raw(response))

    async def fail(self, status: int, error: dict[str, Any]) -> None:
        await self._post(_error(error))

    async def close(self) -> None:
        """Nothing is held."""

    async def _post(self, data: msgspec.Raw) -> None:
        body = messages.encode(EndpointReply(request_id=self._request_id, data=data))
        try:
            async with asyncio.timeout(REPLY_SECONDS):
                problem = await self._tries(body)
        except (EndpointRefused, TimeoutError) as error:
            problem = error
        if problem is not None:
            _dropped(self._request_id, problem)

    async def _tries(self, body: bytes) -> Exception | str | None:
        for attempt in range(1, POST_TRIES + 1):
            problem = await self._try(body)
            if problem is None or attempt == POST_TRIES:
                break
            await asyncio.sleep(POST_PAUSE_SECONDS * 2**attempt)
        return problem

    async def _try(self, body: bytes) -> Exception | str | None:
        try:
            async with self._session.post(
                self._address, data=body, headers={"Content-Type": "application/json"}, allow_redirects=False
            ) as response:
                return None if response.status < 300 else f"status {response.status}"
        except (aiohttp.ClientError, ValueError) as error:
            return error


class EndpointSocket:
    """A streamed answer over a WebSocket, opened when the first chunk is there."""

    def __init__(self, session: aiohttp.ClientSession, request: RequestMessage, endpoint: str) -> None:
        self.started = False
        self._session = session
        self._request_id = request.request_id
        self._address = websocket_address(endpoint)
        self._unsent: asyncio.Queue[EndpointChunk] = asyncio.Queue(UNSENT_CHUNKS)
        self._writer: asyncio.Task[None] | None = None

    def chunk(self, data: bytes) -> None:
        self.started = True
        self._put(EndpointChunk(request_id=self._request_id, end=False, data=msgspec.Raw(data)))

    async def answer(self, response: bytes) -> None:
        await self._end(EndpointChunk(request_id=self._request_id, end=True))

    async def fail(self, status: int, error: dict[str, Any]) -> None:
        await self._end(EndpointChunk(request_id=self._request_id, end=True, data=_error(error)))

    async def close(self) -> None:
        if self._writer is not None:
            self._writer.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._writer

    def _put(self, chunk: EndpointChunk) -> None:
        if self._writer is None:
            self._writer = asyncio.create_task(self._write(), name=f"reply {self._request_id}")
        if not self._writer.done():
            try:
                self._unsent.put_nowait(chunk)
            except asyncio.QueueFull:
                self._cut(self._writer)

    async def _end(self, last: EndpointChunk) -> None:
        self._put(last)
        if self._writer is not None:
            _, unfinished = await asyncio.wait([self._writer], timeout=REPLY_SECONDS)
            for writer in unfinished:
                self._cut(writer)

    def _cut(self, writer: asyncio.Task[None]) -> None:
        _dropped(self._request_id, "it reads too slowly")
        writer.cancel()

    async def _write(self) -> None:
        try:
            async with asyncio.timeout(REPLY_SECONDS):
                socket = await self._session.ws_connect(
                    self._address, timeout=aiohttp.ClientWSTimeout(ws_close=REPLY_SECONDS), max_msg_size=ANSWER_BYTES
                )
            async with socket:
                await self._write_all(socket)
        except (aiohttp.ClientError, EndpointRefused, TimeoutError, OSError, ValueError) as error:
            _dropped(self._request_id, error)

    async def _write_all(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        while True:
            chunk = await self._unsent.get()
            async with asyncio.timeout(REPLY_SECONDS):
                await socket.send_str(messages.encode(chunk).decode())
            if chunk.end:
                return
