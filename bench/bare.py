"""What the worker is compared with: the same HTTP client with nothing around it.

`relay`: a server that passes a request's bytes on to the upstream and the answer's bytes back. `loop`: requests in
closed loops, as many as it is told to.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any, cast

import aiohttp

from bench.paced import HEAD, content_length
from bench.stage import HOST
from bench.talk import configuration, say, told
from core.run import Stop, run

PATH = "/v1/chat/completions"


def client(upstream: str) -> aiohttp.ClientSession:
    """As the remote backend has it."""
    return aiohttp.ClientSession(
        upstream,
        connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=4),
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=600),
    )


class Relayed(asyncio.Protocol):
    """One client's connection."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session
        self._received = b""
        self._relaying: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, separator, body = self._received.partition(b"\r\n\r\n")
        if separator and len(body) >= content_length(head):
            self._received = b""
            self._relaying = asyncio.create_task(self._relay(body))

    def connection_lost(self, _error: Exception | None) -> None:
        if self._relaying is not None:
            self._relaying.cancel()

    async def _relay(self, body: bytes) -> None:
        async with self._session.post(PATH, data=body, headers={"content-type": "application/json"}) as response:
            self._transport.write(HEAD)
            async for piece in response.content.iter_any():
                self._transport.write(b"%x\r\n%b\r\n" % (len(piece), piece))
        self._transport.write(b"0\r\n\r\n")


async def relay(stop: Stop, given: dict[str, Any]) -> None:
    """Serves on any free port, which it tells, until a signal."""
    async with client(given["upstream"]) as session:
        server = await asyncio.get_running_loop().create_server(lambda: Relayed(session), HOST, 0, backlog=2048)
        say(port=server.sockets[0].getsockname()[1])
        await stop.asked.wait()
        server.close()


async def loop(_stop: Stop, given: dict[str, Any]) -> None:
    """Makes as many calls as it is told to, `at_once` at any time, and tells the seconds; ends with its input."""
    async with client(given["upstream"]) as session:
        say(ready=True)
        while order := await asyncio.to_thread(told):
            left = iter(range(order["count"]))
            body = order["body"].encode()
            began = time.perf_counter()
            await asyncio.gather(*(_calls(session, body, left) for _ in range(given["at_once"])))
            say(seconds=time.perf_counter() - began)


async def _calls(session: aiohttp.ClientSession, body: bytes, left: Any) -> None:
    for _ in left:
        async with session.post(PATH, data=body, headers={"content-type": "application/json"}) as response:
            await response.read()
            response.raise_for_status()


ROLES = {"relay": relay, "loop": loop}


async def serve(stop: Stop) -> None:
    """The role that it is started with."""
    given = configuration()
    await ROLES[given["role"]](stop, given)


if __name__ == "__main__":
    raise SystemExit(run(serve))
