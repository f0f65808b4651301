"""Runs a daemon: a fast event loop, signals as a `Stop`, side tasks that nobody can lose."""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
from collections.abc import Awaitable, Callable

import uvloop

from core.errors import AgentOSError

log = logging.getLogger(__name__)


class Stop:
    """Asked for by the first SIGTERM or SIGINT; a second one asks to hurry."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.hurry = asyncio.Event()

    def signal(self) -> None:
        """What a signal does; tests call it too."""
        if self.asked.is_set():
            self.hurry.set()
        self.asked.set()


def run(daemon: Callable[[Stop], Awaitable[None]]) -> int:
    """Runs `daemon` until it returns. The exit code: 0 after a stop, 1 when it failed, by name, in the log."""
    # Large graphs are many small objects that live long: at CPython's own thresholds a quarter of the time that they
    # take goes into looking at them again and again.
    gc.set_threshold(20_000, 10, 100)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_run(daemon))


async def _run(daemon: Callable[[Stop], Awaitable[None]]) -> int:
    stop = Stop()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.signal)
    failed = False
    try:
        await daemon(stop)
    except* AgentOSError as group:
        failed = True
        for error in flatten(group):
            log.critical("stopped: %s: %s", type(error).__name__, error)
    return int(failed)


def flatten(group: BaseExceptionGroup[AgentOSError]) -> list[AgentOSError]:
    """The errors inside a group of groups."""
    errors: list[AgentOSError] = []
    for error in group.exceptions:
        errors += flatten(error) if isinstance(error, BaseExceptionGroup) else [error]
    return errors


async def wait_for_any(*events: asyncio.Event, seconds: float | None = None) -> None:
    """Returns when one of the events is set, or after `seconds`."""
    tasks = [asyncio.create_task(event.wait()) for event in events]
    try:
        await asyncio.wait(tasks, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
