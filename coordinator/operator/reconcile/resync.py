"""Lists everything, again and again: what a watch has missed is seen then, whatever has become of it."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Collection

from coordinator.operator.cluster import metrics
from coordinator.operator.cluster.health import Contact, Sync
from coordinator.operator.cluster.kinds import LOOKED_AT, Kind, Selectors
from coordinator.operator.cluster.kube import Kube, Listed
from coordinator.operator.reconcile.known import Known
from coordinator.operator.wanted.keda import GROUP as KEDA
from core.cluster import ClusterError
from core.liveness import Beat
from core.loopwatch import now

log = logging.getLogger(__name__)

# A watch brings a change within milliseconds; it is called missed after so long.
ALLOWED_SECONDS = 15.0
# Every so many times everything is applied again: Secrets and accounts are not watched.
APPLY_EVERY = 10
FIRST_PAUSE = 1.0


class Resync:
    """Every `every` seconds, in `namespaces`; everywhere if none is named."""

    def __init__(
        self, kube: Kube, known: Known, namespaces: Collection[str], every: float, sync: Sync, contact: Contact
    ) -> None:
        self._kube = kube
        self._known = known
        self._namespaces = list(namespaces) or [""]
        self._every = every
        self._sync = sync
        self._contact = contact
        self._count = 0
        self._told = ""

    async def first(self, beat: Beat) -> None:
        """Returns when everything was listed once."""
        pause = FIRST_PAUSE
        while not await self._try(beat):
            await asyncio.sleep(pause)
            pause = min(2 * pause, self._every)

    async def run(self, renew: Callable[[], None], beat: Beat) -> None:
        """After `first`, until cancelled. `renew` is called where the watches have missed something."""
        while True:
            pause = self._every * random.uniform(0.9, 1.1)
            await asyncio.sleep(min(ALLOWED_SECONDS, pause))
            self._look_for_missed(renew)
            await asyncio.sleep(max(0.0, pause - ALLOWED_SECONDS))
            await self._try(beat)

    async def _try(self, beat: Beat) -> bool:
        """Whether everything was listed."""
        try:
            await self._once()
        except ClusterError as error:
            self._sync.failed(str(error))
            if str(error) != self._told:
                log.warning("AIModels are looked after as far as they are known: %s", error)
            self._told = str(error)
            return False
        finally:
            self._contact.beat(beat)
        self._told = ""
        self._sync.done()
        metrics.SYNCED.set_to_current_time()
        return True

    async def _once(self) -> None:
        self._known.set_keda(await self._kube.serves(KEDA))
        for kind, selectors in LOOKED_AT.items():
            for namespace in self._namespaces:
                listed = await self._list(kind, namespace, selectors)
                self._known.listed(kind, listed.items, listed.version, namespace, now())
        self._count += 1
        if self._count % APPLY_EVERY == 0:
            self._known.apply_again(lambda: random.uniform(0.0, self._every))
        metrics.show_states(str(record.status.get("state", "")) for _, record in self._known)

    async def _list(self, kind: Kind, namespace: str, selectors: Selectors) -> Listed:
        try:
            return await self._kube.list(kind, namespace, **selectors._asdict())
        except ClusterError as error:
            text = f"{kind.plural} cannot be listed: {error}"
            raise ClusterError(text, again=error.again, status=error.status) from error

    def _look_for_missed(self, renew: Callable[[], None]) -> None:
        missed = self._known.missed(now() - ALLOWED_SECONDS)
        for kind, count in missed.items():
            metrics.MISSED.labels(kind.plural).inc(count)
            log.warning("%s: %d changes were listed that no watch has brought", kind.plural, count)
        if missed:
            renew()
