"""The outbox relay: what has been committed is published, even if the process that committed it dies.

The row is claimed by the coordinator that wrote it, which publishes at once from memory. Where that fails, or the
coordinator dies, the claim runs out and any coordinator takes the row and publishes it. Publishing is at least once.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

from bus.port import Bus, Outgoing
from coordinator.metrics import PUBLISHED
from core.batcher import Batcher
from core.errors import BusError, StoreUnavailable
from store import Store

log = logging.getLogger(__name__)

LEASE_SECONDS = 30.0
SWEEP_SECONDS = 5.0
SWEEP_ROWS = 500

# What the broker has confirmed: (outbox id, how it got there).
Pending = tuple[int, Outgoing]


class Relay:
    """Publishes outbox rows: fresh ones from memory, left ones by `sweep`."""

    def __init__(self, bus: Bus, store: Store, owner: str) -> None:
        self._bus = bus
        self._store = store
        self.owner = owner
        self._topics: dict[tuple[str, str], Batcher[Pending, None]] = {}
        self._delete = Batcher(self._delete_rows, max_size=2000)
        self._deleting: set[asyncio.Task[None]] = set()

    async def publish(self, topic: str, subscription: str, outbox_id: int, message: Outgoing) -> None:
        """Publishes a committed row. An error is not the caller's: the row stays, and the sweep takes it."""
        try:
            await self._batcher(topic, subscription).submit((outbox_id, message))
        except BusError as error:
            log.warning("not published yet, left to the sweep: %s", error)
            return
        task = asyncio.create_task(self._forget(outbox_id))
        self._deleting.add(task)
        task.add_done_callback(self._deleting.discard)
        PUBLISHED.labels("direct").inc()

    async def sweep(self) -> None:
        """Publishes what others have left, for ever."""
        while True:
            try:
                await self._sweep_once()
            except (StoreUnavailable, BusError) as error:
                log.warning("the outbox waits: %s", error)
            await asyncio.sleep(SWEEP_SECONDS)

    async def drain(self) -> None:
        """Returns when every published row has been deleted."""
        while self._deleting:
            await asyncio.wait(self._deleting)

    async def _sweep_once(self) -> None:
        while rows := await self._store.claim_outbox(self.owner, limit=SWEEP_ROWS, lease_seconds=LEASE_SECONDS):
            await asyncio.gather(
                *(
                    self._batcher(row.topic, row.subscription).submit(
                        (row.outbox_id, Outgoing(join(row.envelope, row.body)))
                    )
                    for row in rows
                )
            )
            await self._store.published([row.outbox_id for row in rows])
            PUBLISHED.labels("sweep").inc(len(rows))

    def _batcher(self, topic: str, subscription: str) -> Batcher[Pending, None]:
        key = (topic, subscription)
        if key not in self._topics:
            self._topics[key] = Batcher(_Publish(self._bus, topic, subscription), max_size=500, in_flight=4)
        return self._topics[key]

    async def _forget(self, outbox_id: int) -> None:
        try:
            await self._delete.submit(outbox_id)
        except StoreUnavailable as error:
            log.warning("a published row stays in the outbox and will be published again: %s", error)

    async def _delete_rows(self, outbox_ids: list[int]) -> Sequence[None]:
        await self._store.published(outbox_ids)
        return [None] * len(outbox_ids)


class _Publish:
    """Publishes batches to one topic, whose subscription it has made first: before it, messages would be lost."""

    def __init__(self, bus: Bus, topic: str, subscription: str) -> None:
        self._bus = bus
        self._topic = topic
        self._subscription = subscription
        self._ensured = False

    async def __call__(self, batch: list[Pending]) -> Sequence[None]:
        if not self._ensured:
            await self._bus.ensure_subscription(self._topic, self._subscription)
            self._ensured = True
        publisher = await self._bus.publisher(self._topic)
        await publisher.publish([message for _, message in batch])
        return [None] * len(batch)


def join(envelope: str, body: str) -> bytes:
    """The request message: the envelope's fields and the body as `data`, unchanged."""
    return f'{envelope[:-1]},"data":{body}}}'.encode()
