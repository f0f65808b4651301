"""The worker: takes messages as slots are free, serves them, tells who it is, and leaves in good order."""

from __future__ import annotations

import asyncio
import logging
import os
import random
import socket
import time
from typing import Any

import aiohttp

from bus.hearing import hearing
from bus.messages import Control, RequestMessage, decode_control
from bus.nodes import node_name
from bus.port import Bus, Subscription
from bus.topics import control_channel, model_subscription, model_topic
from bus.watch import SILENCE_SECONDS, STARVED_SECONDS, watch_bus, watch_consumer
from core.liveness import Beat
from core.loopwatch import LoopWatch, now
from core.run import Stop
from core.spans import Tracing
from workernode.attempt import Attempts
from workernode.backends.base import Backend
from workernode.batching.batches import Batches
from workernode.callmetrics import CallMetrics
from workernode.calls import Calls
from workernode.cancels import Cancels
from workernode.endpoint import EndpointPost, EndpointSocket
from workernode.endpoint_policy import EndpointPolicy
from workernode.endpoint_session import endpoint_session
from workernode.frames import FrameSender
from workernode.intake import Intake
from workernode.lease import Lease
from workernode.limits.rates import RateLimits
from workernode.limits.shares import fingerprint
from workernode.management import Management
from workernode.metrics import BATCH_QUEUE, BUSY
from workernode.presence import NOTICE_SECONDS, Presence, Standing
from workernode.provider import provider_name
from workernode.reply import GatewayReply, NoReply, Reply
from workernode.results import Results
from workernode.settings import WorkerSettings
from workernode.sharing import Sharing
from workernode.tracing import Traces

log = logging.getLogger(__name__)

# How long the events of calls that were cut off may take; without a broker they would take for ever.
FLUSH_SECONDS = 5.0
# What is watched while the node takes messages.
_CONNECTION, _CONSUMER = "the connection to the broker", "the consumer"


class Node:
    """One process, one model, one backend.

    Shutdown, in this order: stop taking messages; finish the calls that run, for at most the grace period; give the
    rest back; flush frames; tell that the node leaves. The bus, the backend and the health server outlive it.
    """

    def __init__(
        self, settings: WorkerSettings, bus: Bus, backend: Backend, watch: LoopWatch, tracing: Tracing
    ) -> None:
        self._settings = settings
        self._bus = bus
        self._backend = backend
        self._watch = watch
        self._tracing = tracing
        self._cancels = Cancels()
        self._frames = FrameSender(bus)
        self._endpoints = EndpointPolicy(settings.endpoint_allow)
        self._rates = _rates(settings)
        self._batches = Batches(
            backend, settings.batch_order(), lambda: self._intake.update(), self._cancels.was_cancelled
        )
        self._intake = Intake(backend, self._rates, self._batches, lambda: self._presence.announce())
        self.name = node_name(settings.node_name or socket.gethostname(), os.getpid())
        self._results = Results(bus, settings, self.name)
        self._management = Management(bus, settings, self.name)
        self._presence = Presence(
            bus,
            settings,
            self.name,
            backend.slots,
            self._sharing(),
            lambda: Standing(self._intake.available, self._intake.held, self._received),
            self._batches.use,
        )
        self._serving: set[asyncio.Task[None]] = set()
        self._failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._received = 0
        self.taking = False
        BUSY.set_function(lambda: len(self._serving))
        BATCH_QUEUE.set_function(lambda: self._batches.queued)

    def check(self) -> None:
        """Returns if its upstream serves, as far as its last calls tell. Raises `BackendUnavailable`."""
        self._intake.check()

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
        control = control_channel(settings.model_name)
        listening = [
            await self._bus.listen(control, hearing(control, decode_control, self._hear_control)),
            await self._presence.listen(),
        ]
        async with endpoint_session(self._endpoints) as session:
            try:
                await self._work(stop, subscription, session)
            finally:
                for each in listening:
                    await each.close()
                await subscription.close()
                await self._frames.drain()

    async def _work(self, stop: Stop, subscription: Subscription, session: aiohttp.ClientSession) -> None:
        attempts = self._attempts(subscription, session)
        liveness = self._watch.liveness
        expect = liveness.expect
        sides: list[asyncio.Future[Any]] = [
            asyncio.create_task(self._take(subscription, attempts), name="take"),
            asyncio.create_task(self._intake.keep(subscription), name="intake"),
            asyncio.create_task(self._presence.tell(), name="presence"),
            asyncio.create_task(self._tell_management(), name="management"),
            asyncio.create_task(watch_bus(self._bus, expect(_CONNECTION, silence=SILENCE_SECONDS))),
            asyncio.create_task(self._watch_consumer(expect(_CONSUMER, silence=STARVED_SECONDS))),
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
            for watched in (_CONNECTION, _CONSUMER):  # while it drains, nobody beats for them
                liveness.forget(watched)
        for task in done:
            task.result()  # raises what a side task raised
        await subscription.pause()
        self._batches.leave()
        await self._finish(stop)
        await self._presence.leave()

    def _attempts(self, subscription: Subscription, session: aiohttp.ClientSession) -> Attempts:
        settings = self._settings
        provider = provider_name(settings.node_type, settings.api_url)
        return Attempts(
            bus=self._bus,
            subscription=subscription,
            calls=Calls(self._backend, self._batches, self._intake, self._cancels),
            intake=self._intake,
            results=self._results,
            cancels=self._cancels,
            metrics=CallMetrics(settings.model_name, provider),
            traces=Traces(
                self._tracing,
                model=settings.model_name,
                provider=provider,
                system="pulsar" if settings.pulsar_url else "postgresql",
            ),
            endpoints=self._endpoints,
            make_lease=lambda: Lease(self._watch.fence, now),
            make_reply=lambda request, event_id: self._reply(session, request, event_id),
            max_attempts=settings.max_attempts,
            max_crashes=settings.max_crashes,
        )

    async def _take(self, subscription: Subscription, attempts: Attempts) -> None:
        while True:
            deliveries = await subscription.receive()
            self._received += len(deliveries)
            self._intake.held += len(deliveries)
            for delivery in deliveries:
                task = asyncio.create_task(attempts.serve(delivery), name="serve")
                self._serving.add(task)
                task.add_done_callback(self._served)

    async def _tell_management(self) -> None:
        while True:
            told = await self._intake.changes.get()
            since = time.time() - (time.monotonic() - told.since)
            log.warning("%s: %s: %s", told.event, told.reason, told.message)
            await self._management.tell(self._management.event(told.event, told.reason, told.message, since=since))

    async def _watch_consumer(self, beat: Beat) -> None:
        model = self._settings.model_name
        await watch_consumer(
            self._bus,
            model_topic(model),
            model_subscription(model),
            received=lambda: self._received,
            has_room=lambda: self._intake.has_room,
            beat=beat,
        )

    def _served(self, task: asyncio.Task[None]) -> None:
        self._serving.discard(task)
        self._intake.released()
        if not task.cancelled() and (error := task.exception()) and not self._failed.done():
            self._failed.set_exception(error)

    def _sharing(self) -> Sharing | None:
        if self._rates is None:
            return None
        key = fingerprint(
            self._settings.api_key.get_secret_value(), f"{self._settings.api_url} {self._settings.model_name}"
        )
        return Sharing(self.name, key, self._rates, NOTICE_SECONDS)

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
            await asyncio.wait(left, timeout=FLUSH_SECONDS)

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

    def _hear_control(self, control: Control) -> None:
        for request_id in control.cancel:
            self._cancels.cancel(request_id)
        if control.batch is not None and self._batches.order(control.batch):
            log.info("batches of %d from now on, policy %s", self._batches.size, control.batch.policy)
            self._presence.announce()


def _rates(settings: WorkerSettings) -> RateLimits | None:
    """Only a remote provider has limits that we know of."""
    if settings.node_type != "remote":
        return None
    return RateLimits(settings.requests_per_minute or None, settings.tokens_per_minute or None, random.uniform)
