"""Starts a coordinator: store, bus, relay, fold and gateway in one process, and ends them in order."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import uuid
from collections.abc import Iterable
from functools import partial

from bus.connect import connect
from bus.messages import decode_frames
from bus.port import Bus
from bus.topics import FOLD_SUBSCRIPTION, reply_channel
from bus.watch import SILENCE_SECONDS, STARVED_SECONDS, watch_bus, watch_consumer
from coordinator.completion import Completions
from coordinator.folder import Folder
from coordinator.gateway import gateway_app
from coordinator.models import Models
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
        await _serve(settings, stop, store, bus, listener, watch, traces)


async def _serve(
    settings: CoordinatorSettings,
    stop: Stop,
    store: Store,
    bus: Bus,
    listener: socket.socket,
    watch: LoopWatch,
    traces: Traces,
) -> None:
    name = f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:8]}"
    waiters = Waiters()
    models = Models(bus, store, lambda model: waiters.end_all(Ending.UNAVAILABLE, model))
    relay = Relay(bus, store, name, settings.res_topic_name, traces)
    tasks = TaskService(
        settings,
        process=name,
        store=store,
        bus=bus,
        relay=relay,
        models=models,
        traces=traces,
        offered=lambda _: None,
    )
    folder = Folder(
        bus,
        store,
        settings.res_topic_name,
        on_answer=waiters.take_folded,
        on_settled=tasks.settled,
        traces=traces,
    )
    channel = reply_channel(name)

    async def ready() -> None:
        await store.check()
        await bus.check()

    completions = Completions(
        settings=settings,
        bus=bus,
        store=store,
        relay=relay,
        waiters=waiters,
        models=models,
        reply_channel=channel,
        traces=traces,
    )
    # Before anything can be published: a result without a subscription would be lost.
    await bus.ensure_subscription(settings.res_topic_name, FOLD_SUBSCRIPTION)
    replies = await bus.listen(channel, lambda payload: _take_frames(waiters, payload))
    notices = await models.start()
    expect = partial(watch.liveness.expect, silence=SILENCE_SECONDS)
    async with tasks.joined(), asyncio.TaskGroup() as group:
        sides = [
            group.create_task(folder.run(), name="fold"),
            group.create_task(relay.sweep(expect("the sweep of the outbox")), name="sweep"),
            group.create_task(models.remember(expect("the memory of models")), name="models"),
            group.create_task(_look_for_answers(store, waiters, expect("the look for answers")), name="answers"),
            group.create_task(watch_bus(bus, expect("the connection to the broker")), name="watch of the bus"),
            group.create_task(
                _watch_fold(bus, settings.res_topic_name, folder, watch.liveness), name="watch of the fold"
            ),
            *(group.create_task(side, name=side_name) for side_name, side in tasks.sides(expect).items()),
        ]
        app = gateway_app(completions, models, tasks.routes(), ready, watch)
        async with http.serving(app, listener, grace=settings.grace_seconds):
            host, port = listener.getsockname()[:2]
            logger.info("coordinator %s; gateway on http://%s:%d/v1", name, host, port)
            await stop.asked.wait()
            tasks.end_streams()
            timer = asyncio.get_running_loop().call_later(
                settings.grace_seconds * 0.9, waiters.end_all, Ending.STOPPING
            )
            hurry = group.create_task(_hurry(stop, waiters))
        timer.cancel()
        await relay.drain()
        _cancel([*sides, hurry])
    await replies.close()
    await notices.close()


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


def _take_frames(waiters: Waiters, payload: bytes) -> None:
    try:
        for frame in decode_frames(payload):
            waiters.take_frame(frame)
    except BadMessage as error:
        logger.warning("on the reply channel: %s", error)


def _cancel(tasks: Iterable[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
