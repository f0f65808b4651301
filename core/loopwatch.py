"""Watches the event loop from outside: a thread that sees when the loop no longer turns, and says where it stands."""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
import time
from pathlib import Path
from types import FrameType, TracebackType
from typing import Self

from core.liveness import Fence, Liveness

log = logging.getLogger(__name__)

TICK_SECONDS = 0.5
# A loop that stands for this long is a defect.
BLOCKED_SECONDS = 10.0
# Below what either broker allows: the lease on Postgres is 10 s and renewed every 3 s, Pulsar waits 30 s at least.
FENCE_SECONDS = 5.0
DEEPEST = 30


def now() -> float:
    """Seconds on a clock that goes on while the machine is suspended, where the system has one."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if sys.platform == "linux" else time.monotonic()


class LoopWatch:
    """Keeps `fence` ticking, and logs the place at which the loop is blocked, once a stall.

    `liveness`: where the parts of this process show progress.
    Made on the loop that it watches. Use as a context manager.
    """

    def __init__(self, *, tick: float = TICK_SECONDS, blocked: float = BLOCKED_SECONDS) -> None:
        self.fence = Fence(FENCE_SECONDS, now())
        self.liveness = Liveness(self.fence, now)
        self._every = tick
        self._blocked = blocked
        self._loop = asyncio.get_running_loop()
        self._watched = threading.get_ident()
        self._timer: asyncio.TimerHandle | None = None
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="loop watch", daemon=True)

    def stuck(self) -> list[str]:
        """What is wrong, a sentence each; empty while all is well. May be asked from any thread."""
        slept = self.fence.slept(now())
        if slept > self._blocked:
            return [f"the event loop has not turned for {slept:.0f} s"]
        return self.liveness.stuck()

    def __enter__(self) -> Self:
        self._tick()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._ended.set()
        self._thread.join()

    def _tick(self) -> None:
        self.fence.tick(now())
        self._timer = self._loop.call_later(self._every, self._tick)

    def _watch(self) -> None:
        awake_at, told = now(), False
        while not self._ended.wait(self._every):
            looked_at, awake_at = awake_at, now()
            if awake_at - looked_at > self._every + self._blocked / 2:
                log.warning("the process stood still for %.0f s: stopped, or its machine was", awake_at - looked_at)
                continue
            stalled = self.fence.slept(awake_at) > self._blocked
            if stalled and not told:
                log.critical("the event loop is blocked for %g s at %s", self._blocked, self._place())
            elif told and not stalled:
                log.warning("the event loop turns again")
            told = stalled

    def _place(self) -> str:
        frame = sys._current_frames().get(self._watched)
        return " < ".join(_places(frame)) or "an unknown place"


def _places(frame: FrameType | None) -> list[str]:
    """File and line of each caller, innermost first: no values, which may be content."""
    places: list[str] = []
    while frame is not None and len(places) < DEEPEST:
        file = Path(frame.f_code.co_filename)
        places.append(f"{file.parent.name}/{file.name}:{frame.f_lineno}")
        frame = frame.f_back
    return places
