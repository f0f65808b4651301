"""Tells which model this worker serves, and what it uses of its key: at the start, when asked, every few seconds.

Gateways listen, and the other workers on the key.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from typing import NamedTuple

import msgspec

from bus import messages
from bus.hearing import hearing
from bus.messages import BatchUse, Notice, RollCall, WorkerNotice, decode_notice
from bus.port import Bus, Listening
from bus.topics import WORKERS_CHANNEL
from core.errors import BusUnavailable
from workernode.settings import WorkerSettings
from workernode.sharing import Sharing

log = logging.getLogger(__name__)

NOTICE_SECONDS = 5.0
# Of a worker that batches: gates and the planner go by what it tells.
BATCH_NOTICE_SECONDS = 1.0


class Standing(NamedTuple):
    """As a `WorkerNotice` tells it."""

    available: bool
    held: int
    taken: int


class Presence:
    """One worker's notices. `batches`: None of one that does not batch."""

    def __init__(
        self,
        bus: Bus,
        settings: WorkerSettings,
        node: str,
        slots: int,
        sharing: Sharing | None,
        standing: Callable[[], Standing],
        batches: Callable[[], BatchUse | None],
    ) -> None:
        self._bus = bus
        self._standing = standing
        self._batches = batches
        self._sharing = sharing
        self._notice = WorkerNotice(node=node, model=settings.model_name, node_type=settings.node_type, slots=slots)
        self._asked = asyncio.Event()

    async def listen(self) -> Listening:
        """Hears roll calls until the listening is closed."""
        return await self._bus.listen(WORKERS_CHANNEL, hearing(WORKERS_CHANNEL, decode_notice, self._hear))

    async def tell(self) -> None:
        """Tells, for ever."""
        while True:
            standing = self._standing()._asdict()
            batch = self._batches()
            slots = self._notice.slots if batch is None else batch.size
            await self._send(msgspec.structs.replace(self._notice, **standing, slots=slots, batch=batch))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(NOTICE_SECONDS if batch is None else BATCH_NOTICE_SECONDS):
                    await self._asked.wait()
            self._asked.clear()

    def announce(self) -> None:
        """Tells at once: something has changed."""
        self._asked.set()

    async def leave(self) -> None:
        """Tells that the worker goes."""
        await self._send(msgspec.structs.replace(self._notice, leaving=True))

    async def _send(self, notice: WorkerNotice) -> None:
        if self._sharing is not None:
            notice = self._sharing.tell(notice)
        try:
            await self._bus.send(WORKERS_CHANNEL, messages.encode(notice))
        except BusUnavailable as error:
            log.warning("gateways do not hear of this worker now: %s", error)

    def _hear(self, notice: Notice) -> None:
        if isinstance(notice, RollCall):
            self.announce()
        elif isinstance(notice, WorkerNotice) and self._sharing is not None:
            self._sharing.hear(notice)
