"""An OpenAI-compatible upstream of streams at a set pace: `tokens` tokens of each, `pace` a second.

Written close to the sockets, so that a thousand streams are a load for others and not for this process. A stream's
tokens are due at its own times; a tick sends those that are due, all of them where it comes late.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from typing import cast

import msgspec

from bench.stage import HOST
from bench.talk import configuration, say
from core.run import Stop, run

TICK_SECONDS = 0.001
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
CHUNK = {"id": "chatcmpl-bench", "object": "chat.completion.chunk", "created": 1, "model": "bench"}


def event(choices: list[dict[str, object]]) -> bytes:
    """One event as a chunk of the transfer coding."""
    data = b"data: %b\n\n" % msgspec.json.encode({**CHUNK, "choices": choices})
    return b"%x\r\n%b\r\n" % (len(data), data)


TOKEN = event([{"index": 0, "delta": {"content": "token "}, "finish_reason": None}])
LAST = event([{"index": 0, "delta": {}, "finish_reason": "stop"}]) + b"e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n"


class Paced:
    """The streams under way, by the tick in which their next token is due."""

    def __init__(self, tokens: int, pace: float) -> None:
        self.tokens = tokens
        self._ticks = max(1, round(1 / pace / TICK_SECONDS))
        self._due: defaultdict[int, list[Connection]] = defaultdict(list)
        self._tick = 0
        self._began = time.monotonic()

    def begin(self, connection: Connection) -> None:
        """The first token at once."""
        connection.left = self.tokens
        connection.write(HEAD)
        self._send(connection, self._tick)

    async def turn(self) -> None:
        """Sends what is due; never returns."""
        while True:
            now = int((time.monotonic() - self._began) / TICK_SECONDS)
            while self._tick < now:
                self._tick += 1
                for connection in self._due.pop(self._tick, ()):
                    self._send(connection, self._tick)
            await asyncio.sleep(TICK_SECONDS)

    def _send(self, connection: Connection, tick: int) -> None:
        if not connection.left or connection.closed:
            return
        connection.left -= 1
        connection.write(TOKEN)
        if connection.left:
            self._due[tick + self._ticks].append(connection)
        else:
            connection.write(LAST)


class Connection(asyncio.Protocol):
    """One connection: reads a request, whose body does not matter, and streams."""

    def __init__(self, paced: Paced) -> None:
        self.left = 0
        self.closed = False
        self._paced = paced
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are no subclass of what they are.
        self._transport = cast("asyncio.Transport", transport)
        self.write = self._transport.write

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, separator, body = self._received.partition(b"\r\n\r\n")
        if separator and len(body) >= content_length(head):
            self._received = b""
            self._paced.begin(self)

    def connection_lost(self, _error: Exception | None) -> None:
        self.closed = True


def content_length(head: bytes) -> int:
    """0 where the head names none."""
    at = head.lower().find(b"content-length:")
    return int(head[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0


async def serve(stop: Stop) -> None:
    """Serves on any free port, which it tells, until a signal."""
    given = configuration()
    paced = Paced(given["tokens"], given["pace"])
    server = await asyncio.get_running_loop().create_server(lambda: Connection(paced), HOST, 0, backlog=2048)
    turning = asyncio.create_task(paced.turn(), name="turns")
    say(port=server.sockets[0].getsockname()[1])
    stopping = asyncio.create_task(stop.asked.wait())
    await asyncio.wait([turning, stopping], return_when=asyncio.FIRST_COMPLETED)
    server.close()
    if turning.done():
        turning.result()
    turning.cancel()


if __name__ == "__main__":
    raise SystemExit(run(serve))
