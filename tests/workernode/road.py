"""One node between its topics: what a program publishes, what comes back, what becomes of the messages."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec

from bus.messages import NodeEvent, ReplyFrame, ResultMessage, decode_event, decode_frames
from bus.port import DEAD_LETTER_SUBSCRIPTION, Backlog, Bus, Delivery, Outgoing, dead_letter_topic
from bus.topics import WORKERS_CHANNEL, model_subscription, model_topic
from core.loopwatch import LoopWatch
from core.run import Stop
from core.spans import NO_TRACING
from workernode.backends.base import Backend
from workernode.node import Node
from workernode.settings import WorkerSettings

RESULTS = "results"
CHANNEL = "replies"
PATIENCE = 20.0


class Road:
    """The topics around one worker."""

    def __init__(self, bus: Bus, backend: Backend, settings: WorkerSettings) -> None:
        self.bus = bus
        self.settings = settings
        self.stop = Stop()
        self.frames: asyncio.Queue[ReplyFrame] = asyncio.Queue()
        self._backend = backend
        self._events: list[ResultMessage | NodeEvent] = []

    async def start(self) -> None:
        """The topics, without the worker."""
        self._topic, self._name = model_topic(self.settings.model_name), model_subscription(self.settings.model_name)
        await self.bus.ensure_subscription(self._topic, self._name)
        self._results = await self.bus.subscribe(RESULTS, "test", window=1000)
        await self.bus.listen(CHANNEL, self._hear)

    async def live(self) -> None:
        """The worker's life; until `stop`."""
        with LoopWatch() as watch:
            await Node(self.settings, self.bus, self._backend, watch, NO_TRACING).run(self.stop)

    async def present(self) -> None:
        """Waits until a worker has told that it serves."""
        present = asyncio.Event()
        listening = await self.bus.listen(WORKERS_CHANNEL, lambda frame: present.set())
        async with asyncio.timeout(PATIENCE):
            await present.wait()
        await listening.close()

    def _hear(self, body: bytes) -> None:
        for frame in decode_frames(body):
            self.frames.put_nowait(frame)

    async def send(self, **fields: Any) -> None:
        """Publishes a request."""
        message = {"request_id": "r1", "data": {"model": "m"}, "reply_channel": CHANNEL} | fields
        await self.publish(msgspec.json.encode(message))

    async def publish(self, body: bytes) -> None:
        """Publishes whatever."""
        await (await self.bus.publisher(self._topic)).publish([Outgoing(body)])

    async def event(self) -> ResultMessage | NodeEvent:
        """The next on the result topic."""
        async with asyncio.timeout(PATIENCE):
            while not self._events:
                deliveries = await self._results.receive()
                await self._results.ack(deliveries)
                self._events += [decode_event(each.body) for each in deliveries]
            return self._events.pop(0)

    async def result(self) -> ResultMessage:
        """The next, which is a billing event."""
        event = await self.event()
        assert isinstance(event, ResultMessage)
        return event

    async def frame(self) -> ReplyFrame:
        """The next frame of an answer."""
        async with asyncio.timeout(PATIENCE):
            return await self.frames.get()

    async def backlog(self) -> Backlog:
        """What waits for the worker, or is with it."""
        return await self.bus.backlog(self._topic, self._name)

    async def settled(self) -> None:
        """Waits until nothing is in a worker's hands."""
        async with asyncio.timeout(PATIENCE):
            while (await self.backlog()).in_flight:  # noqa: ASYNC110
                await asyncio.sleep(0.02)  # the figures send no event

    async def dead_letter(self) -> Delivery:
        """The next dead letter."""
        topic = dead_letter_topic(self._topic, self._name)
        subscription = await self.bus.subscribe(topic, DEAD_LETTER_SUBSCRIPTION, window=10)
        async with asyncio.timeout(PATIENCE):
            return (await subscription.receive())[0]
