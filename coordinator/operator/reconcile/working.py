"""Reconciles what is due, many AIModels side by side, each of them once at a time."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable

from coordinator.operator.cluster import metrics
from coordinator.operator.reconcile import mistakes
from coordinator.operator.reconcile.queue import WorkQueue
from coordinator.operator.wanted.aimodel import Key
from core.cluster import ClusterError
from core.liveness import Beat
from core.loopwatch import now
from core.run import wait_for_any

log = logging.getLogger(__name__)

SIDE_BY_SIDE = 16
# One look, with all its calls.
LOOK_SECONDS = 60.0
TICK_SECONDS = 1.0

# Gives back in how many seconds it is to be looked at again; raises `ClusterError`.
Reconcile = Callable[[Key], Awaitable[float | None]]


class Working:
    """The queue, and those who work on it. `reconcile` is set before `run`."""

    def __init__(self) -> None:
        self._queue = WorkQueue(random.random)
        self._news = asyncio.Event()
        self._running = 0
        self._ended = 0
        self._told: dict[Key, str] = {}

    def look(self, key: Key, after: float = 0.0) -> None:
        """The AIModel is to be looked at in so many seconds, or earlier."""
        self._queue.add(key, now(), after)
        self._news.set()

    def forget(self, key: Key) -> None:
        """It is gone."""
        self._queue.forget(key)
        self._told.pop(key, None)

    async def run(self, reconcile: Reconcile, beat: Beat) -> None:
        """Until cancelled. Beats while there is room for more, or something ends."""
        async with asyncio.TaskGroup() as group:
            ended = 0
            while True:
                if self._running < SIDE_BY_SIDE or self._ended != ended:
                    beat.beat()
                ended = self._ended
                self._news.clear()
                while self._running < SIDE_BY_SIDE and (key := self._queue.take(now())) is not None:
                    self._running += 1
                    group.create_task(self._look_at(key, reconcile), name=f"AIModel {'/'.join(key)}")
                self._show()
                await wait_for_any(self._news, seconds=self._pause())

    def _pause(self) -> float:
        at = self._queue.next_at() if self._running < SIDE_BY_SIDE else None
        return TICK_SECONDS if at is None else min(TICK_SECONDS, max(0.0, at - now()))

    async def _look_at(self, key: Key, reconcile: Reconcile) -> None:
        began = now()
        try:
            async with asyncio.timeout(LOOK_SECONDS):
                again = await reconcile(key)
        except ClusterError as error:
            self._failed(key, str(error))
        except TimeoutError:
            self._failed(key, f"it took more than {LOOK_SECONDS:g} s")
        except Exception as error:  # noqa: BLE001 - the others go on, and this one comes again
            self._failed(key, mistakes.told(error))
        else:
            self._done(key, again)
        finally:
            metrics.SECONDS.observe(now() - began)
            self._running -= 1
            self._ended += 1
            self._news.set()

    def _done(self, key: Key, again: float | None) -> None:
        metrics.RECONCILED.labels("done").inc()
        self._told.pop(key, None)
        self._queue.done(key, now())
        if again is not None:
            self._queue.add(key, now(), again)

    def _failed(self, key: Key, why: str) -> None:
        metrics.RECONCILED.labels("failed").inc()
        pause = self._queue.failed(key, now())
        if self._told.get(key) != why:
            self._told[key] = why
            log.warning("AIModel %s/%s is not as it is to be: %s; again in %.1f s", *key, why, pause)

    def _show(self) -> None:
        metrics.QUEUED.set(self._queue.load(now()))
        metrics.FAILING.set(self._queue.failing())
