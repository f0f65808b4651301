"""A coordinator's lease: while it holds, the tasks that it owns are its own.

Whose lease was lost has lost its tasks: it steps down, and joins again under a new name with none.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from coordinator.metrics import REFUSED, STEPPED_DOWN
from core.errors import StaleEpoch, StoreUnavailable
from core.liveness import Beat
from store import Peer, Store

log = logging.getLogger(__name__)

LEASE_SECONDS = 10.0
RENEW_SECONDS = 1.0


class Ownership:
    """One coordinator's. `name`: under which it owns tasks now. `peers`: the coordinators that live, itself included.

    `lost` is called when the lease was lost, before it joins again.
    """

    def __init__(self, store: Store, process: str, region: str, lost: Callable[[], None]) -> None:
        self._store = store
        self._process = process
        self._lost = lost
        self._life = 0
        self._doubted = asyncio.Event()
        self.region = region
        self.name = process
        self.peers: list[Peer] = []

    async def join(self) -> None:
        """Takes the lease. Raises `StoreUnavailable`."""
        self._life += 1
        self.name = f"{self._process}.{self._life}"
        await self._store.join(self.name, self.region, LEASE_SECONDS)

    async def keep(self, beat: Beat) -> None:
        """Renews the lease, for ever."""
        while True:
            beat.beat()
            try:
                await self._renew()
            except StoreUnavailable as error:
                log.warning("the lease cannot be renewed now: %s", error)
            await self._pause()

    def doubt(self) -> None:
        """A write was refused: somebody else may own our tasks. The lease is looked at, now."""
        self._doubted.set()

    async def leave(self) -> None:
        """Gives up the lease and the tasks: others take them at once."""
        try:
            await self._store.leave(self.name)
        except StoreUnavailable as error:
            log.warning("the lease runs out by itself: %s", error)

    @property
    def alone(self) -> bool:
        """Whether nobody else coordinates."""
        return len(self.peers) < 2

    async def _renew(self) -> None:
        try:
            self.peers = await self._store.renew(self.name, LEASE_SECONDS)
        except StaleEpoch:
            log.warning("the lease of %s was lost: its tasks are others' now; it steps down", self.name)
            REFUSED.labels("lease").inc()
            STEPPED_DOWN.inc()
            self._lost()
            await self.join()

    async def _pause(self) -> None:
        try:
            async with asyncio.timeout(RENEW_SECONDS):
                await self._doubted.wait()
        except TimeoutError:
            return
        self._doubted.clear()
