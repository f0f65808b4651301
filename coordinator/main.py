"""Starts a coordinator: store, bus, relay, fold and gateway in one process, and ends them in order."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import uuid
from collections.abc import Coroutine
from functools import partial
from typing import Any

from bus.connect import connect
from bus.messages import decode_frames
from bus.port import Bus
from bus.topics import FOLD_SUBSCRIPTION, reply_channel
from bus.watch import SILENCE_SECONDS, STARVED_SECONDS, watch_bus, watch_consumer
from coordinator.completion import Completions
from coordinator.folder import Folder
from coordinator.gateway import gateway_app
from coordinator.models import Models
from coordinator.planning.service import Planner
from coordinator.relay import Relay
from coordinator.service import TaskService
from coordinator.settings import CoordinatorSettings
from coordinator.tracing import Traces
from coordinator.waiters import Ending, Waiters
from core import http, log, telemetry
from core.errors import BadMessage, StoreUnavailable
from core.liveness import Beat, Liveness
from core.loopwatch import LoopWatch
from core.run import Stop, run
from store import Store

logger = logging.getLogger(__name__)

LOOK_SECONDS = 1.0


def main(settings: CoordinatorSettings) -> int:
    """Runs until a signal; returns the exit code."""
    log.set_up(debug=settings.debug)
    return run(lambda stop: coordinator(settings, stop))


async def coordinator(settings: CoordinatorSettings, stop: Stop) -> None:
    """A coordinator's whole life. Raises an `AgentOSError` if it cannot start or cannot go on.

    Shutdown: no new connections; open requests may be answered within the grace period, then they are told by name;
    then the relay forgets what it has published; the fold's unacked results go to the next coordinator.
    """
    async with contextlib.AsyncExitStack() as stack:
        watch = stack.enter_context(LoopWatch())
        tracing = telemetry.tracing("agentos-coordinator")
        stack.push_async_callback(tracing.close)
        listener = http.listen(settings.host, settings.port)
        stack.callback(listener.close)
        store = await Store.connect(settings.database_url.get_secret_value())
        stack.push_async_callback(store.close)
        bus = await connect(
            pulsar_url=settings.pulsar_url,
            pulsar_token=settings.pulsar_token.get_secret_value(),
            pulsar_admin_url=settings.pulsar_admin_url,
            bus_url=settings.bus_url,
        )
        stack.push_async_callback(bus.close)
        traces = Traces(tracing, "pulsar" if settings.pulsar_url else "postgresql")
        await Coordinator(settings, store, bus, watch, traces).serve(listener, stop)


class Coordinator:
    """All parts of one, put together."""

    def __init__(
        self, settings: CoordinatorSettings, store: Store, bus: Bus, watch: LoopWatch, traces: Traces
    ) -> None:
        self._settings = settings
        self._store = store
        self._bus = bus
        self._watch = watch
        self._name = f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:8]}"
        self._waiters = Waiters()
        self._models = Models(bus, store, lambda model: self._waiters.end_all(Ending.UNAVAILABLE, model))
        self._relay = Relay(bus, store, self._name, settings.res_topic_name, traces)
        self._tasks = TaskService(
            settings,
            process=self._name,
            store=store,
            bus=bus,
            relay=self._relay,
            models=self._models,
            traces=traces,
            offered=lambda pipeline: self._planner.offered(pipeline),
        )
        self._planner = Planner(
            bus,
            name=self._tasks.owner,
            peers=self._tasks.peers,
            pipelines=self._tasks.pipelines.registry.pipelines,
            waiting=self._tasks.pipelines.waiting,
            ready=self._tasks.ready,
            acts=settings.planner == "on",
        )
        self._folder = Folder(
            bus,
            store,
            settings.res_topic_name,
            on_answer=self._waiters.take_folded,
            on_settled=self._tasks.settled,
            traces=traces,
        )
        self._completions = Completions(
            settings=settings,
            bus=bus,
            store=store,
            relay=self._relay,
            waiters=self._waiters,
            models=self._models,
            reply_channel=reply_channel(self._name),
            traces=traces,
        )

    async def serve(self, listener: socket.socket, stop: Stop) -> None:
        """Until `stop`. Raises what a part of it has raised."""
        # Before anything can be published: a result without a subscription would be lost.
        await self._bus.ensure_subscription(self._settings.res_topic_name, FOLD_SUBSCRIPTION)
        replies = await self._bus.listen(reply_channel(self._name), self._take_frames)
        notices = await self._models.start()
        async with self._tasks.joined(), self._planner.listening(), asyncio.TaskGroup() as group:
            sides = [group.create_task(side, name=name) for name, side in self._sides().items()]
            await self._answer(listener, stop, group)
            await self._relay.drain()
            for side in sides:
                side.cancel()
        await replies.close()
        await notices.close()

    def _sides(self) -> dict[str, Coroutine[Any, Any, None]]:
        """What runs all the time, by name."""
        expect = partial(self._watch.liveness.expect, silence=SILENCE_SECONDS)
        return {
            "fold": self._folder.run(),
            "sweep": self._relay.sweep(expect("the sweep of the outbox")),
            "models": self._models.remember(expect("the memory of models")),
            "answers": _look_for_answers(self._store, self._waiters, expect("the look for answers")),
            "watch of the bus": watch_bus(self._bus, expect("the connection to the broker")),
            "watch of the fold": _watch_fold(
                self._bus, self._settings.res_topic_name, self._folder, self._watch.liveness
            ),
            **self._tasks.sides(expect),
            **self._planner.sides(expect),
        }

    async def _answer(self, listener: socket.socket, stop: Stop, group: asyncio.TaskGroup) -> None:
        """Serves HTTP until `stop`, and then for as long as open requests may take."""
        grace, waiters = self._settings.grace_seconds, self._waiters
        app = gateway_app(self._completions, self._models, self._tasks.routes(), self._ready, self._watch)
        async with http.serving(app, listener, grace=grace):
            host, port = listener.getsockname()[:2]
            logger.info("coordinator %s; gateway on http://%s:%d/v1", self._name, host, port)
            await stop.asked.wait()
            self._tasks.end_streams()
            timer = asyncio.get_running_loop().call_later(grace * 0.9, waiters.end_all, Ending.STOPPING)
            hurry = group.create_task(_hurry(stop, waiters))
        timer.cancel()
        hurry.cancel()

    async def _ready(self) -> None:
        await self._store.check()
        await self._bus.check()

    def _take_frames(self, payload: bytes) -> None:
        try:
            for frame in decode_frames(payload):
                self._waiters.take_frame(frame)
        except BadMessage as error:
            logger.warning("on the reply channel: %s", error)


async def _hurry(stop: Stop, waiters: Waiters) -> None:
    await stop.hurry.wait()
    waiters.end_all(Ending.STOPPING)


async def _watch_fold(bus: Bus, topic: str, folder: Folder, liveness: Liveness) -> None:
    await watch_consumer(
        bus,
        topic,
        FOLD_SUBSCRIPTION,
        received=lambda: folder.received,
        has_room=lambda: folder.idle,
        beat=liveness.expect("the consumer of results", silence=STARVED_SECONDS),
    )


async def _look_for_answers(store: Store, waiters: Waiters, beat: Beat) -> None:
    """Finds answers that did not come as frames: too large for one, lost, or folded by another coordinator."""
    loop = asyncio.get_running_loop()
    while True:
        beat.beat()
        await asyncio.sleep(LOOK_SECONDS)
        tasks = waiters.tasks_waiting_since(loop.time() - LOOK_SECONDS)
        if not tasks:
            continue
        try:
            answers = await store.answers(tasks)
        except StoreUnavailable as error:
            logger.warning("answers cannot be looked up now: %s", error)
            continue
        for task_id, answer in answers.items():
            waiters.take_found(task_id, answer)
