"""One HTTP exchange over ASGI: read the body within a limit, answer whole or as server-sent events, notice a client
that leaves."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from starlette.types import Receive, Scope, Send

from bus.billing import LONGEST_TEXT
from coordinator.body import read_body
from coordinator.openai import error_body

JSON = [(b"content-type", b"application/json")]
EVENTS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),
]


class Exchange:
    """`started`: a part of the answer has left. `status`: what was answered (499: the client had left). `broken`: a
    stream of status 200 ended with an error. `request_id`: told to the client in `x-request-id`, as OpenAI does.
    `client`: who asked, as request headers.
    """

    def __init__(self, receive: Receive, send: Send) -> None:
        self.started = False
        self.broken = False
        self.status = 499
        self.request_id = ""
        self.client: dict[str, list[str]] = {}
        self._receive = receive
        self._send = send
        self._watch: asyncio.Task[None] | None = None

    async def body(self, scope: Scope, limit: int) -> bytes:
        """The request's body. Raises `RequestRefused`: 413 above `limit` bytes, 400 if the client leaves half way."""
        self.client = _client(dict(scope["headers"]), scope.get("client"))
        return await read_body(scope, self._receive, limit)

    @property
    def error_type(self) -> str:
        """Why it failed, a name of few; empty where all is well."""
        if self.broken:
            return "interrupted"
        return str(self.status) if self.status >= 400 else ""

    def when_gone(self, tell: Callable[[], None]) -> None:
        """Calls `tell` if the client leaves before `finish`."""
        self._watch = asyncio.create_task(self._watch_client(tell), name="watch client")

    def finish(self) -> None:
        """Stops watching the client."""
        if self._watch is not None:
            self._watch.cancel()

    async def whole(self, status: int, body: bytes) -> None:
        """Answers in one piece, in JSON."""
        self.started = True
        self.status = status
        length = (b"content-length", str(len(body)).encode())
        await self._start(status, [*JSON, length])
        await self._send({"type": "http.response.body", "body": body})

    async def events(self, chunks: Sequence[bytes], *, end: bool) -> None:
        """Sends chunks as server-sent events; at the `end`, the closing `[DONE]`."""
        body = b"".join(b"data: %b\n\n" % chunk for chunk in chunks)
        await self._stream(body + b"data: [DONE]\n\n" if end else body, end=end)

    async def break_off(self, error: dict[str, Any]) -> None:
        """Ends a stream with an error event instead of `[DONE]`, as OpenAI does."""
        self.broken = True
        await self._stream(b"data: %b\n\n" % error_body(error), end=True)

    async def _start(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        told = [*headers, (b"x-request-id", self.request_id.encode())] if self.request_id else headers
        await self._send({"type": "http.response.start", "status": status, "headers": told})

    async def _stream(self, body: bytes, *, end: bool) -> None:
        if not self.started:
            self.started = True
            self.status = 200
            await self._start(200, EVENTS)
        await self._send({"type": "http.response.body", "body": body, "more_body": not end})

    async def _watch_client(self, tell: Callable[[], None]) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            continue
        tell()


def _client(headers: Mapping[bytes, bytes], peer: tuple[str, int] | None) -> dict[str, list[str]]:
    """What the billing event tells of who asked: program and address, in the form of request headers."""
    agent = headers.get(b"user-agent", b"").decode("latin-1")
    address = headers.get(b"x-forwarded-for", b"").decode("latin-1") or (peer[0] if peer else "")
    told = {"user-agent": agent, "x-forwarded-for": address}
    return {name: [value[:LONGEST_TEXT]] for name, value in told.items() if value}
