"""One worker process alone with its bus: no gateway, no store. Requests go straight to the model's topic."""

from __future__ import annotations

import asyncio
import os
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from agentos.processes import RUN_VARIABLE
from agentos.readiness import free_port
from agentos.stack import environment
from bench.processes import Process, running
from bench.stage import HOST, BusName, Stage, command
from bus import messages
from bus.connect import connect
from bus.messages import ReplyFrame, RequestMessage
from bus.port import Bus, Outgoing
from bus.topics import model_topic, reply_channel
from core.errors import PartError
from workernode.settings import WorkerSettings

READY_SECONDS = 60.0
LOOK_SECONDS = 0.05
# Without any reply for so long, a run has failed.
SILENCE_SECONDS = 60.0

_decode = msgspec.json.Decoder(list[ReplyFrame]).decode


@dataclass(frozen=True, slots=True)
class Node:
    """A worker that takes messages."""

    process: Process
    model: str
    url: str


@contextmanager
def node(on: Stage, bus: BusName, *, profile_to: Path | None = None, **settings: Any) -> Iterator[Node]:
    """A worker of a new model. With `profile_to` it is sampled into that file. Raises `PartError`."""
    model = f"bench-{uuid.uuid4().hex[:8]}"
    port = free_port(HOST, 0)
    own = WorkerSettings(
        model_name=model,
        port=port,
        res_topic_name=f"res-{model}",
        grace_seconds=5,
        **on.addresses(bus, worker=True),
        **settings,
    )
    around = environment(own, os.environ) | {RUN_VARIABLE: os.environ[RUN_VARIABLE]}
    with running("worker", command("worker", profile_to), around, on.directory) as process:
        url = f"http://{HOST}:{port}"
        _wait_until_ready(process, url + "/ready")
        yield Node(process, model, url)


def _wait_until_ready(process: Process, url: str) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline:
        process.must_live()
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(LOOK_SECONDS)
    raise PartError(f"{process.name} is not ready after {READY_SECONDS:g} s")


@dataclass(slots=True)
class Asked:
    """One request, seen by who asks. Times are those of the loop's clock in seconds; `data`: the last frame's."""

    due: float
    first: float | None = None
    tokens: int = 0
    data: bytes = b""
    status: int = 0


@dataclass(slots=True)
class Asker:
    """Publishes requests and hears the replies."""

    bus: Bus
    model: str
    channel: str
    ended: Callable[[Asked], None] = lambda _: None
    asked: dict[str, Asked] = field(default_factory=dict)
    tokens: int = 0
    _outgoing: asyncio.Queue[Outgoing] = field(default_factory=asyncio.Queue)

    def ask(self, body: bytes, *, stream: bool, due: float | None = None) -> None:
        """Publishes one request, soon."""
        request_id = uuid.uuid4().hex
        self.asked[request_id] = Asked(time.monotonic() if due is None else due)
        request = RequestMessage(
            request_id=request_id, data=msgspec.Raw(body), stream=stream, reply_channel=self.channel
        )
        self._outgoing.put_nowait(Outgoing(messages.encode(request)))

    async def publish(self) -> None:
        """Publishes what was asked, as much at once as has gathered; never returns."""
        publisher = await self.bus.publisher(model_topic(self.model))
        while True:
            batch = [await self._outgoing.get()]
            while not self._outgoing.empty():
                batch.append(self._outgoing.get_nowait())
            await publisher.publish(batch)

    def hear(self, payload: bytes) -> None:
        """Takes the frames of one payload."""
        now = time.monotonic()
        for frame in _decode(payload):
            one = self.asked.get(frame.request_id)
            if one is None:
                continue
            if not frame.end:
                one.tokens += 1
                self.tokens += 1
                one.first = now if one.first is None else one.first
                continue
            one.data, one.status = bytes(frame.data), frame.status
            del self.asked[frame.request_id]
            self.ended(one)


@asynccontextmanager
async def asker(on: Stage, bus: BusName, model: str) -> AsyncIterator[Asker]:
    """An asker for the time of the block; what it fails with is raised at the block's end."""
    connection = await connect(**on.addresses(bus))
    asking = Asker(connection, model, reply_channel(f"bench-{uuid.uuid4().hex[:8]}"))
    listening = await connection.listen(asking.channel, asking.hear)
    publishing = asyncio.create_task(asking.publish(), name="publishes")
    try:
        yield asking
    finally:
        publishing.cancel()
        await asyncio.wait([publishing])
        await listening.close()
        await connection.close()
    if not publishing.cancelled():
        publishing.result()


async def closed_loop(
    asking: Asker, bodies: Iterator[bytes], *, at_once: int, count: int, stream: bool
) -> list[Asked]:
    """`count` requests, `at_once` at any time. Raises `PartError` where one fails or nothing arrives any more."""
    done: list[Asked] = []
    left = count - min(at_once, count)
    over = asyncio.Event()

    def ended(one: Asked) -> None:
        nonlocal left
        done.append(one)
        if one.status != 200 or len(done) == count:
            over.set()
        elif left:
            left -= 1
            asking.ask(next(bodies), stream=stream)

    asking.ended = ended
    for _ in range(min(at_once, count)):
        asking.ask(next(bodies), stream=stream)
    heard = -1
    while not over.is_set():
        if heard == len(done) + asking.tokens:
            raise PartError(f"{len(done)} of {count} requests were answered, then nothing for {SILENCE_SECONDS:g} s")
        heard = len(done) + asking.tokens
        try:
            async with asyncio.timeout(SILENCE_SECONDS):
                await over.wait()
        except TimeoutError:
            continue
    if done[-1].status != 200:
        raise PartError(f"a request ended with status {done[-1].status}: {done[-1].data.decode(errors='replace')}")
    return done
