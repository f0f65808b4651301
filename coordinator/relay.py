"""The outbox relay: what has been committed is published, even if the process that committed it dies.

The row is claimed by the coordinator that wrote it, which publishes at once from memory. Where that fails, or the
coordinator dies, the claim runs out and any coordinator takes the row, asks whether it was published all the same,
and publishes it if not. So a call is not made again because its coordinator has changed.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from typing import NamedTuple

from bus.messages import TaskRef, encode
from bus.port import CLAIM_CHECK_BYTES, Bus, Outgoing
from coordinator.left import find_published
from coordinator.metrics import PUBLISHED
from coordinator.tracing import Traces, traced
from core.batcher import Batcher
from core.errors import BusError, StoreUnavailable
from core.liveness import Beat
from core.spans import NO_SPAN, TRACEPARENT, Span
from store import OutboxRow, Store

log = logging.getLogger(__name__)

LEASE_SECONDS = 15.0
# From the claim on. What has not left by then is left to the sweep: a publication that is under way ends, one way or
# the other, within ten seconds more, and by then nobody else may begin one.
LEAVE_SECONDS = 4.0
SWEEP_SECONDS = 5.0
SWEEP_ROWS = 500
# How long published rows are kept: longer than a broker may confirm what is not on its disk yet (see Bus.publisher).
FORGET_SECONDS = 1.0

_DIRECTLY, _BY_SWEEP, _FOUND = (PUBLISHED.labels(path) for path in ("direct", "sweep", "found"))


class Relay:
    """Publishes outbox rows: fresh ones from memory, left ones by `sweep`."""

    def __init__(self, bus: Bus, store: Store, owner: str, result_topic: str, traces: Traces) -> None:
        self._bus = bus
        self._store = store
        self.owner = owner
        self._result_topic = result_topic
        self._traces = traces
        self._topics: dict[tuple[str, str], Batcher[_Leaving, bool]] = {}
        self._delete = Batcher(self._delete_rows, max_size=50_000, linger=FORGET_SECONDS)
        self._deleting: set[asyncio.Task[None]] = set()

    async def publish(self, row: OutboxRow, span: Span = NO_SPAN) -> None:
        """Publishes a row just committed. If it cannot, the row stays, and the sweep takes it. Ends `span`.

        The claim runs from `created_at`, which may be a moment before the commit.
        """
        _DIRECTLY.inc(await self._publish(row, row.created_at, span))

    async def sweep(self, beat: Beat) -> None:
        """Publishes what others have left, for ever."""
        while True:
            beat.beat()
            try:
                await self._sweep_once(beat)
            except (BusError, StoreUnavailable) as error:
                log.warning("the outbox waits: %s", error)
            await asyncio.sleep(SWEEP_SECONDS)

    async def drain(self) -> None:
        """Returns when every published row has been deleted."""
        while self._deleting:
            await asyncio.wait(self._deleting)

    async def _sweep_once(self, beat: Beat) -> None:
        while rows := await self._store.claim_outbox(self.owner, limit=SWEEP_ROWS, lease_seconds=LEASE_SECONDS):
            beat.beat()
            found = await find_published(self._bus, rows, self._result_topic)
            beat.beat()
            await self._delete_rows(list(found))
            _FOUND.inc(len(found))
            claimed_at = time.time()
            ours = await self._store.keep_claims(
                self.owner, [row.outbox_id for row in rows if row.outbox_id not in found], lease_seconds=LEASE_SECONDS
            )
            unpublished = [row for row in rows if row.outbox_id in ours]
            sends = (self._publish(row, claimed_at, self._traces.send_again(row)) for row in unpublished)
            published = await asyncio.gather(*sends)
            _BY_SWEEP.inc(sum(published))
            if not all(published):
                return

    async def _publish(self, row: OutboxRow, claimed_at: float, span: Span) -> bool:
        """Whether the broker has confirmed it; then its row goes, a moment later."""
        try:
            left = await self._send(row, claimed_at + LEAVE_SECONDS)
        except BusError as error:
            log.warning("not published yet, left to the sweep: %s", error)
            left = False
        if not left:
            span.end("unpublished")
            return False
        span.end()
        task = asyncio.create_task(self._forget(row.outbox_id))
        self._deleting.add(task)
        task.add_done_callback(self._deleting.discard)
        return True

    async def _send(self, row: OutboxRow, by: float) -> bool:
        key = (row.topic, row.subscription)
        if key not in self._topics:
            publish = _Publish(self._bus, row.topic, row.subscription)
            self._topics[key] = Batcher(publish, max_size=500, in_flight=4)
        return await self._topics[key].submit(_Leaving(await self._message(row), by))

    async def _message(self, row: OutboxRow) -> Outgoing:
        task = TaskRef(
            task_id=row.task_id,
            node_id=row.node_id,
            global_epoch=row.epoch.global_epoch,
            regional_epoch=row.epoch.regional_epoch,
        )
        # Tools that watch a broker know the property.
        envelope = traced(row.envelope)
        properties = {TRACEPARENT: envelope.traceparent} if envelope.traceparent else {}
        body = row.body.encode()
        if len(body) <= CLAIM_CHECK_BYTES:
            message = join(row.envelope, task, body)
        else:
            message = join(row.envelope, task, b"{}", data_ref=await self._bus.put_blob(body))
        return Outgoing(message, properties, key=envelope.request_id)

    async def _forget(self, outbox_id: int) -> None:
        try:
            await self._delete.submit(outbox_id)
        except StoreUnavailable as error:
            log.warning("a published row stays in the outbox and will be published again: %s", error)

    async def _delete_rows(self, outbox_ids: list[int]) -> Sequence[None]:
        await self._store.published(outbox_ids, lease_seconds=LEASE_SECONDS)
        return [None] * len(outbox_ids)


class _Leaving(NamedTuple):
    """A message, and the Unix time after which it must not leave any more."""

    message: Outgoing
    by: float


class _Publish:
    """Publishes batches to one topic, whose subscription it has made first: before it, messages would be lost.

    Tells of each whether it has left in time.
    """

    def __init__(self, bus: Bus, topic: str, subscription: str) -> None:
        self._bus = bus
        self._topic = topic
        self._subscription = subscription
        self._ensured = False

    async def __call__(self, batch: list[_Leaving]) -> Sequence[bool]:
        if not self._ensured:
            await self._bus.ensure_subscription(self._topic, self._subscription)
            self._ensured = True
        publisher = await self._bus.publisher(self._topic, kept=True)
        now = time.time()
        in_time = [each.by > now for each in batch]
        await publisher.publish([each.message for each in batch if each.by > now])
        return in_time


def join(envelope: str, task: TaskRef, body: bytes, *, data_ref: str | None = None) -> bytes:
    """The request message: the envelope's fields, the task, and the body as `data`, unchanged."""
    reference = f',"data_ref":"{data_ref}"' if data_ref is not None else ""
    head = f'{envelope[:-1]},"task":{encode(task).decode()}{reference},"data":'
    return b"".join((head.encode(), body, b"}"))
