"""Streams that begin at set times, as many at once as wanted, and what is seen of them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol, cast
from urllib.parse import urlsplit

from bench.node import Asked, Asker
from bench.processes import Meter

END = b"0\r\n\r\n"
LATE_SECONDS = 20.0


@dataclass(slots=True)
class Flow:
    """What came of it. `firsts`: seconds from when a stream was due to begin to its first token.

    `tokens`, `seconds`, `cpu` (by process) are those of the time in which all streams were under way.
    """

    firsts: list[float] = field(default_factory=list)
    tokens: int = 0
    seconds: float = 0.0
    cpu: dict[str, float] = field(default_factory=dict)
    unfinished: int = 0


class Streams(Protocol):
    """A way to have streams."""

    @property
    def tokens(self) -> int:
        """Seen so far."""

    def begin(self, due: float, ended: Callable[[float | None], None]) -> None:
        """Begins one; `ended` gets the time of its first token."""


async def flow(streams: Streams, *, at_once: int, life: float, pids: Mapping[str, int]) -> Flow:
    """Begins streams evenly for two lives of a stream: in the second life as many end as begin, and it counts."""
    done = Flow()
    unfinished = 2 * at_once
    over = asyncio.Event()

    def ended(due: float, first: float | None) -> None:
        nonlocal unfinished
        unfinished -= 1
        if first is not None and due >= full:
            done.firsts.append(first - due)
        if not unfinished:
            over.set()

    began = time.monotonic()
    full = began + life
    await _begin(streams, began, range(at_once), life / at_once, ended)
    tokens = streams.tokens
    with Meter(pids) as meter:
        await _begin(streams, began, range(at_once, 2 * at_once), life / at_once, ended)
    done.tokens, done.seconds, done.cpu = streams.tokens - tokens, meter.seconds, meter.cpu
    try:
        async with asyncio.timeout(life + LATE_SECONDS):
            await over.wait()
    except TimeoutError:
        done.unfinished = unfinished
    return done


async def _begin(
    streams: Streams, began: float, numbers: range, gap: float, ended: Callable[[float, float | None], None]
) -> None:
    for number in numbers:
        due = began + number * gap
        await asyncio.sleep(max(0.0, due - time.monotonic()))
        streams.begin(due, lambda first, due=due: ended(due, first))  # type: ignore[misc]


class OverBus:
    """Through AgentOS."""

    def __init__(self, asking: Asker, body: bytes) -> None:
        self._asking = asking
        self._body = body
        self._ended: dict[float, Callable[[float | None], None]] = {}
        asking.ended = self._end

    @property
    def tokens(self) -> int:
        return self._asking.tokens

    def begin(self, due: float, ended: Callable[[float | None], None]) -> None:
        self._ended[due] = ended
        self._asking.ask(self._body, stream=True, due=due)

    def _end(self, one: Asked) -> None:
        self._ended.pop(one.due)(one.first)


class OverHttp:
    """Straight to a server, over connections that are kept."""

    def __init__(self, url: str, body: bytes) -> None:
        self.tokens = 0
        self._place = urlsplit(url)
        head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: {len(body)}\r\n\r\n"
        self._request = head.encode() + body
        self._free: list[_Connection] = []
        self._opening: set[asyncio.Task[None]] = set()

    def begin(self, due: float, ended: Callable[[float | None], None]) -> None:
        if self._free:
            self._free.pop().ask(self._request, ended)
        else:
            task = asyncio.create_task(self._open(ended))
            self._opening.add(task)
            task.add_done_callback(self._opening.discard)

    async def _open(self, ended: Callable[[float | None], None]) -> None:
        loop = asyncio.get_running_loop()
        place = self._place
        _, connection = await loop.create_connection(
            lambda: _Connection(self), place.hostname or "", place.port or 80
        )
        connection.ask(self._request, ended)

    def over(self, connection: _Connection) -> None:
        """Takes a connection back."""
        self._free.append(connection)

    def close(self) -> None:
        """Closes what is kept."""
        for each in self._free:
            each.close()


class _Connection(asyncio.Protocol):
    def __init__(self, streams: OverHttp) -> None:
        self._streams = streams
        self._first: float | None = None
        self._tail = b""
        self._ended: Callable[[float | None], None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are no subclass of what they are.
        self._transport = cast("asyncio.Transport", transport)

    def ask(self, request: bytes, ended: Callable[[float | None], None]) -> None:
        self._first, self._tail, self._ended = None, b"", ended
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        tokens = data.count(b'"token ')
        self._streams.tokens += tokens
        if tokens and self._first is None:
            self._first = time.monotonic()
        self._tail = (self._tail + data)[-len(END) :]
        if self._tail == END and self._ended is not None:
            ended, self._ended = self._ended, None
            self._streams.over(self)
            ended(self._first)

    def close(self) -> None:
        self._transport.abort()
