"""A TCP proxy that cuts connections: what arrives of an answer is up to the test."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

PIECE = 1 << 16


class Cutter:
    """Stands before a gateway. `budgets`: after so many further bytes of answers, whichever they are, the connection
    that brings them is cut; then the next budget begins. `refused`: requests that hold it are cut off at once.
    `cut`: how often either happened.
    """

    def __init__(self, gateway: str) -> None:
        self._gateway = urlsplit(gateway)
        self._server: asyncio.Server | None = None
        self._handlers: set[asyncio.Task[None]] = set()
        self.budgets: list[int] = []
        self.refused = b""
        self.cut = 0

    @property
    def url(self) -> str:
        assert self._server is not None
        host, port = self._server.sockets[0].getsockname()
        return f"http://{host}:{port}"

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        # Whoever asked has left by now.
        await asyncio.gather(*self._handlers, return_exceptions=True)

    async def idle(self) -> None:
        """Returns when every connection has ended, so that none of them uses up what a budget is meant for."""
        while self._handlers:
            await asyncio.wait(self._handlers)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        handler = asyncio.current_task()
        assert handler is not None
        self._handlers.add(handler)
        handler.add_done_callback(self._handlers.discard)
        assert self._gateway.hostname is not None
        upstream_reader, upstream_writer = await asyncio.open_connection(self._gateway.hostname, self._gateway.port)
        ways = [
            asyncio.create_task(self._ask(reader, upstream_writer)),
            asyncio.create_task(self._answer(upstream_reader, writer)),
        ]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            for end in (writer, upstream_writer):
                end.close()
                await asyncio.gather(end.wait_closed(), return_exceptions=True)

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while piece := await reader.read(PIECE):
            if self.budgets and self.budgets[0] <= len(piece):
                writer.write(piece[: self.budgets.pop(0)])
                await writer.drain()
                self.cut += 1
                return
            if self.budgets:
                self.budgets[0] -= len(piece)
            writer.write(piece)
            await writer.drain()

    async def _ask(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while piece := await reader.read(PIECE):
            if self.refused and self.refused in piece:
                self.cut += 1
                return
            writer.write(piece)
            await writer.drain()
