"""The worker: takes messages as slots are free, serves them, tells who it is, and leaves in good order."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from typing import Any

import aiohttp

from bus.messages import RequestMessage, decode_control
from bus.port import Bus, Subscription
from bus.topics import control_channel, model_subscription, model_topic
from core.errors import BadMessage
from core.run import Stop
from workernode.attempt import Attempts
from workernode.backends.base import Backend
from workernode.cancels import Cancels
from workernode.endpoint import EndpointPost, EndpointSocket
from workernode.frames import FrameSender
from workernode.metrics import BUSY
from workernode.presence import Presence
from workernode.reply import GatewayReply, NoReply, Reply
from workernode.results import Results
from workernode.settings import WorkerSettings

log = logging.getLogger(__name__)


class Node:
    """One process, one model, one backend.

    Shutdown, in this order: stop taking messages; finish the calls that run, for at most the grace period; give the
    rest back; flush frames; tell that the node leaves. The bus, the backend and the health server outlive it.
    """

    def __init__(self, settings: WorkerSettings, bus: Bus, backend: Backend) -> None:
        self._settings = settings
        self._bus = bus
        self._backend = backend
        self._cancels = Cancels()
        self._frames = FrameSender(bus)
        self.name = f"{socket.gethostname()}-{os.getpid()}"
        self._results = Results(bus, settings, self.name)
        self._presence = Presence(bus, settings, self.name, backend.slots)
        self._serving: set[asyncio.Task[None]] = set()
        self._failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.taking = False
        BUSY.set_function(lambda: len(self._serving))

    async def run(self, stop: Stop) -> None:
        """Serves until `stop`. Raises what a side task raised: a worker that cannot work must not look alive."""
        settings = self._settings
        subscription = await self._bus.subscribe(
            model_topic(settings.model_name),
            model_subscription(settings.model_name),
            window=self._backend.slots,
            prefetch=min(settings.prefetch, self._backend.slots),
            max_attempts=settings.max_attempts,
        )
        listening = [
            await self._bus.listen(control_channel(settings.model_name), self._hear_control),
            await self._presence.listen(),
        ]
        async with aiohttp.ClientSession() as session:
            try:
                await self._work(stop, subscription, session)
            finally:
                for each in listening:
                    await each.close()
                await subscription.close()
                await self._frames.drain()

    async def _work(self, stop: Stop, subscription: Subscription, session: aiohttp.ClientSession) -> None:
        attempts = Attempts(
            bus=self._bus,
            subscription=subscription,
            backend=self._backend,
            results=self._results,
            cancels=self._cancels,
            make_reply=lambda request, event_id: self._reply(session, request, event_id),
            max_attempts=self._settings.max_attempts,
        )
        sides: list[asyncio.Future[Any]] = [
            asyncio.create_task(self._take(subscription, attempts), name="take"),
            asyncio.create_task(self._presence.tell(), name="presence"),
            asyncio.create_task(stop.asked.wait(), name="stop"),
        ]
        self.taking = True
        try:
            done, _ = await asyncio.wait([*sides, self._failed], return_when=asyncio.FIRST_COMPLETED)
        finally:
            self.taking = False
            for task in sides:
                task.cancel()
            await asyncio.wait(sides)
        for task in done:
            task.result()  # raises what a side task raised
        await subscription.pause()
        await self._finish(stop)
        await self._presence.leave()

    async def _take(self, subscription: Subscription, attempts: Attempts) -> None:
        while True:
            for delivery in await subscription.receive():
                task = asyncio.create_task(attempts.serve(delivery), name="serve")
                self._serving.add(task)
                task.add_done_callback(self._served)

    def _served(self, task: asyncio.Task[None]) -> None:
        self._serving.discard(task)
        if not task.cancelled() and (error := task.exception()) and not self._failed.done():
            self._failed.set_exception(error)

    async def _finish(self, stop: Stop) -> None:
        if self._serving:
            log.info("stopping: %d calls have %s s to finish", len(self._serving), self._settings.grace_seconds)
        finished = asyncio.create_task(self._until_served())
        hurried = asyncio.create_task(stop.hurry.wait())
        await asyncio.wait(
            [finished, hurried], timeout=self._settings.grace_seconds, return_when=asyncio.FIRST_COMPLETED
        )
        left = list(self._serving)
        for task in [finished, hurried, *left]:
            task.cancel()
        if left:
            log.info("stopping: %d calls go back to the topic", len(left))
            await asyncio.wait(left)

    async def _until_served(self) -> None:
        while self._serving:
            await asyncio.wait(self._serving)

    def _reply(self, session: aiohttp.ClientSession, request: RequestMessage, event_id: str) -> Reply:
        if request.reply_channel is not None:
            return GatewayReply(self._frames, request.reply_channel, request, event_id)
        if not request.endpoint:
            return NoReply()
        kind = EndpointSocket if request.stream else EndpointPost
        return kind(session, request, request.endpoint)

    def _hear_control(self, frame: bytes) -> None:
        try:
            control = decode_control(frame)
        except BadMessage as error:
            log.warning("on the control channel: %s", error)
            return
        for request_id in control.cancel:
            self._cancels.cancel(request_id)
