"""What the operator that leads does. All of it is made anew for each term, and ends with it."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable

from bus.port import Bus
from coordinator.operator.cluster.announcing import Announcements
from coordinator.operator.cluster.health import Contact, Sync
from coordinator.operator.cluster.kube import Kube
from coordinator.operator.cluster.watching import Watches
from coordinator.operator.reconcile.known import Known
from coordinator.operator.reconcile.reconciler import Reconciler
from coordinator.operator.reconcile.resync import Resync
from coordinator.operator.reconcile.working import Working
from coordinator.operator.scaling.driven import Driven
from coordinator.operator.scaling.scaler import Scaler
from coordinator.operator.settings import OperatorSettings
from coordinator.operator.wanted.site import Site
from core.liveness import Liveness

RESYNC, QUEUE, SCALER = "the resync", "the queue of AIModels", "the scaler"
# The longest that one turn of each may take, in seconds: lists of all pages, looks, calls to the broker.
RESYNC_SILENCE = 300.0
QUEUE_SILENCE = 120.0
SCALER_SILENCE = 120.0

Connect = Callable[[], Awaitable[Bus]]


class Term:
    """One term. `connect`: to the broker. Raises what its parts raise: mistakes of ours alone."""

    def __init__(
        self,
        settings: OperatorSettings,
        kube: Kube,
        *,
        connect: Connect,
        sync: Sync,
        contact: Contact,
        liveness: Liveness,
    ) -> None:
        self._settings = settings
        self._liveness = liveness
        self._sync = sync
        self._working = Working()
        self._known = Known(site_of(settings), self._working.look, self._working.forget)
        self._announcements = Announcements(kube, socket.gethostname())
        self._reconciler = Reconciler(kube, self._known, self._announcements)
        namespaces = settings.namespaces()
        self._resync = Resync(kube, self._known, namespaces, settings.resync_seconds, sync, contact)
        self._watches = Watches(self._known.streamed, namespaces)
        self._scaler = Scaler(connect, Driven(kube, self._known, self._working.look))

    async def run(self) -> None:
        """Until cancelled."""
        self._sync.begins()
        silence = RESYNC_SILENCE + 2 * self._settings.resync_seconds
        try:
            resync = self._liveness.expect(RESYNC, silence=silence)
            await self._resync.first(resync)
            async with asyncio.TaskGroup() as group:
                group.create_task(self._resync.run(self._watches.renew, resync), name="resync")
                group.create_task(self._watches.run(), name="watches")
                group.create_task(self._announcements.run(), name="announcements")
                queue = self._liveness.expect(QUEUE, silence=QUEUE_SILENCE)
                group.create_task(self._working.run(self._reconciler.reconcile, queue), name="queue")
                scaler = self._liveness.expect(SCALER, silence=SCALER_SILENCE)
                group.create_task(self._scaler.run(scaler), name="scaler")
        finally:
            self._sync.ends()
            for name in (RESYNC, QUEUE, SCALER):
                self._liveness.forget(name)


def site_of(settings: OperatorSettings) -> Site:
    """What all workers have in common."""
    return Site(
        worker_image=settings.worker_image,
        pulsar_url=settings.pulsar_url,
        pulsar_token=settings.pulsar_token,
        pulsar_admin_url=settings.pulsar_admin_url,
        bus_url=settings.bus_url,
        res_topic_name=settings.res_topic_name,
    )
