"""A TCP proxy that can swallow what comes on its connections, as a firewall that forgets them does."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from asyncio import StreamReader, StreamWriter
from collections.abc import Iterator


class Proxy:
    """In front of a port of this machine. `port`: its own."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="swallowing proxy", daemon=True)
        self._connections: set[_Connection] = set()
        self._thread.start()
        starting = asyncio.start_server(self._serve, "127.0.0.1", 0)
        self._server = asyncio.run_coroutine_threadsafe(starting, self._loop).result(10)

    @property
    def port(self) -> int:
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    def swallow(self, silent_for: float) -> int:
        """From now on nothing comes through on those connections on which the client has said nothing for so many
        seconds, in either direction, and nobody is told. How many they are. Others, and new ones, are as before.
        """
        since = time.monotonic() - silent_for
        silent = [each for each in list(self._connections) if each.client_spoke_at < since and not each.swallows]
        for connection in silent:
            connection.swallows = True
        return len(silent)

    def close(self) -> None:
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _close(self) -> None:
        self._server.close()
        for connection in self._connections:
            connection.ended.set()
        while self._connections:  # noqa: ASYNC110 - a moment
            await asyncio.sleep(0.01)

    async def _serve(self, reader: StreamReader, writer: StreamWriter) -> None:
        connection = _Connection()
        self._connections.add(connection)
        try:
            there, back = await asyncio.open_connection("127.0.0.1", self._target)
            await connection.copy_both((reader, writer), (there, back))
            back.transport.abort()
        except OSError:
            pass  # the one side is gone, so the other is told
        writer.transport.abort()
        await asyncio.sleep(0)  # transports close a turn later
        self._connections.discard(connection)


class _Connection:
    def __init__(self) -> None:
        self.swallows = False
        self.client_spoke_at = time.monotonic()
        self.ended = asyncio.Event()

    async def copy_both(
        self, client: tuple[StreamReader, StreamWriter], server: tuple[StreamReader, StreamWriter]
    ) -> None:
        """Until one of the two ends, or it is `ended`."""
        copies = [
            asyncio.ensure_future(self._copy(client[0], server[1], client=True)),
            asyncio.ensure_future(self._copy(server[0], client[1], client=False)),
            asyncio.ensure_future(self.ended.wait()),
        ]
        await asyncio.wait(copies, return_when=asyncio.FIRST_COMPLETED)
        for each in copies:
            each.cancel()
        await asyncio.gather(*copies, return_exceptions=True)

    async def _copy(self, reader: StreamReader, writer: StreamWriter, *, client: bool) -> None:
        """Until this side ends; an end is swallowed, too."""
        while data := await reader.read(65536):
            if client:
                self.client_spoke_at = time.monotonic()
            if not self.swallows:
                writer.write(data)
                await writer.drain()
        if self.swallows and not client:
            await asyncio.Event().wait()


@contextlib.contextmanager
def swallowing(target: int) -> Iterator[Proxy]:
    """For the time of the block."""
    proxy = Proxy(target)
    try:
        yield proxy
    finally:
        proxy.close()
