"""Signs of life of a connection to the broker, for liveness probes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from bus.port import Bus
from core.errors import BusError
from core.liveness import Beat

log = logging.getLogger(__name__)

ASK_SECONDS = 5.0
# Longer than either client tries by itself before it says that the broker is away.
ANSWER_SECONDS = 60.0
# Silence after which the connection counts as stuck.
SILENCE_SECONDS = 90.0
# A look at the backlog is a call of the broker's admin API.
LOOK_SECONDS = 30.0
# Four looks: at one, a message may be on its way to another consumer.
STARVED_SECONDS = 4 * LOOK_SECONDS


async def watch_bus(bus: Bus, beat: Beat) -> None:
    """Beats while our side of the connection works, for ever. That the broker is away is an answer: no restart of
    this process would bring it back."""
    while True:
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                await bus.check()
        except TimeoutError:
            log.warning("the connection to the broker gives no answer")
            continue
        except BusError as error:
            log.debug("the broker does not answer: %s", error)
        beat.beat()
        await asyncio.sleep(ASK_SECONDS)


async def watch_consumer(
    bus: Bus, topic: str, subscription: str, *, received: Callable[[], int], has_room: Callable[[], bool], beat: Beat
) -> None:
    """Beats unless messages are ready, there is room for them, and none comes; for ever.

    `received`: deliveries so far. The broker is asked only where nothing has come since the last look.
    """
    seen = -1
    while True:
        before, seen = seen, received()
        if before != seen or not has_room() or not await _some_ready(bus, topic, subscription):
            beat.beat()
        await asyncio.sleep(LOOK_SECONDS)


async def _some_ready(bus: Bus, topic: str, subscription: str) -> bool:
    try:
        return (await bus.backlog(topic, subscription)).ready > 0
    except BusError as error:
        log.debug("the backlog is not known: %s", error)
        return False
