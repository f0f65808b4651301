"""Clients in closed loops: each asks again as soon as it is answered, over one connection that it keeps.

HTTP is read here by hand, as little of it as these answers need, so that the clients leave the CPU to what is
measured.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import cast
from urllib.parse import urlsplit

REPLY_SECONDS = 30.0


@dataclass(slots=True)
class Load:
    """What came of a run. Latencies in seconds. `lost`: by what happened instead of the right answer."""

    seconds: float = 0.0
    latencies: list[float] = field(default_factory=list)
    lost: dict[str, int] = field(default_factory=dict)

    def lose(self, why: str) -> None:
        """Counts a reply that did not come, or not right."""
        self.lost[why] = self.lost.get(why, 0) + 1


class _Connection(asyncio.Protocol):
    """One exchange at a time."""

    def __init__(self) -> None:
        self._received = bytearray()
        self._answer: asyncio.Future[bytes] | None = None
        self.transport: asyncio.Transport | None = None
        self.closed = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are no subclass of what they are.
        self.transport = cast("asyncio.Transport", transport)

    async def ask(self, request: bytes) -> bytes:
        """The whole answer, head and body. Raises `ConnectionError`, `TimeoutError`."""
        if self.closed or self.transport is None:
            raise ConnectionResetError
        self._received.clear()
        self._answer = asyncio.get_running_loop().create_future()
        self.transport.write(request)
        async with asyncio.timeout(REPLY_SECONDS):
            return await self._answer

    def data_received(self, data: bytes) -> None:
        self._received += data
        if self._answer is not None and not self._answer.done() and _complete(self._received):
            self._answer.set_result(bytes(self._received))

    def connection_lost(self, _error: Exception | None) -> None:
        self.closed = True
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(ConnectionResetError())


def _complete(received: bytearray) -> bool:
    end = received.find(b"\r\n\r\n")
    if end < 0:
        return False
    head = bytes(received[:end]).lower()
    at = head.find(b"content-length:")
    if at < 0:  # chunked
        return received.endswith(b"0\r\n\r\n", end)
    return len(received) >= end + 4 + int(head[at + 15 :].split(b"\r\n", 1)[0])


async def load(url: str, model: str, *, clients: int, requests: int, stream: bool) -> Load:
    """Sends `requests` by `clients` at once."""
    done = Load()
    left = iter(range(requests))
    began = time.perf_counter()
    await asyncio.gather(*(_client(url, model, stream, left, done) for _ in range(min(clients, requests))))
    done.seconds = time.perf_counter() - began
    return done


async def _client(url: str, model: str, stream: bool, left: Iterator[int], done: Load) -> None:
    place = urlsplit(url)
    connection: _Connection | None = None
    for _ in left:
        mark = uuid.uuid4().hex
        request = _request(place.netloc, model, mark, stream)
        began = time.perf_counter()
        try:
            if connection is None or connection.closed:
                connection = await _connect(place.hostname or "", place.port or 80)
            answer = await connection.ask(request)
        except (OSError, TimeoutError) as error:
            done.lose(type(error).__name__)
            _drop(connection)
            connection = None
            continue
        done.latencies.append(time.perf_counter() - began)
        if (fault := _fault(answer, mark, stream)) is not None:
            done.lose(fault)
    _drop(connection)


async def _connect(host: str, port: int) -> _Connection:
    _, connection = await asyncio.get_running_loop().create_connection(_Connection, host, port)
    return connection


def _drop(connection: _Connection | None) -> None:
    if connection is not None and connection.transport is not None:
        connection.transport.abort()


def _fault(answer: bytes, mark: str, stream: bool) -> str | None:
    """What is wrong with an answer, if anything."""
    status = answer[9:12].decode(errors="replace")
    if status != "200":
        return f"status {status}"
    if mark.encode() not in answer:
        return "another's answer"
    return "no end" if stream and b"data: [DONE]" not in answer else None


def _request(host: str, model: str, mark: str, stream: bool) -> bytes:
    flag = ',"stream":true' if stream else ""
    body = f'{{"model":"{model}","messages":[{{"role":"user","content":"{mark}"}}]{flag}}}'
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nhost: {host}\r\n"
        f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    return (head + body).encode()
