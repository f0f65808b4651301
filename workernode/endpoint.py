"""Replies to a message's `endpoint`: HTTP POST for plain requests, a WebSocket for streamed ones.

The formats are those of the earlier system: `{"request_id", "data"}` by POST; over the WebSocket one text message a
chunk, `{"request_id", "end": false, "data"}`, the last with `"end": true`. An error goes the same way, with the
OpenAI error object as `data`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import aiohttp
import msgspec

from bus import messages
from bus.messages import EndpointChunk, EndpointReply, RequestMessage

log = logging.getLogger(__name__)

POST_TRIES = 3
POST_PAUSE_SECONDS = 0.2
REPLY_SECONDS = 30.0
UNSENT_CHUNKS = 10_000


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
        for attempt in range(1, POST_TRIES + 1):
            problem = await self._try(body)
            if problem is None:
                return
            if attempt < POST_TRIES:
                await asyncio.sleep(POST_PAUSE_SECONDS * 2**attempt)
        log.warning("request %s: the endpoint did not take the reply: %s", self._request_id, problem)

    async def _try(self, body: bytes) -> str | None:
        try:
            async with self._session.post(
                self._address,
                data=body,
                headers={"Content-Type": "application/json"},
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(total=REPLY_SECONDS),
            ) as response:
                return None if response.status < 300 else f"status {response.status}"
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            return type(error).__name__


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
                log.warning("request %s: the endpoint reads too slowly; its reply is cut", self._request_id)
                self._writer.cancel()

    async def _end(self, last: EndpointChunk) -> None:
        self._put(last)
        if self._writer is not None:
            await asyncio.wait([self._writer])

    async def _write(self) -> None:
        try:
            async with self._session.ws_connect(
                self._address, timeout=aiohttp.ClientWSTimeout(ws_close=REPLY_SECONDS), max_msg_size=1 << 16
            ) as socket:
                await self._write_all(socket)
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            log.warning("request %s: the endpoint did not take the reply: %s", self._request_id, type(error).__name__)

    async def _write_all(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        while True:
            chunk = await self._unsent.get()
            async with asyncio.timeout(REPLY_SECONDS):
                await socket.send_str(messages.encode(chunk).decode())
            if chunk.end:
                return
