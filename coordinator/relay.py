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
from itertools import chain
from typing import TypeAlias

from bus.messages import TaskRef, encode
from bus.port import CLAIM_CHECK_BYTES, Bus, Outgoing
from coordinator.left import find_published
from coordinator.metrics import PUBLISHED
from coordinator.tracing import Traces, traced
from core.batcher import Batcher
from core.errors import BusError, StoreUnavailable
from core.liveness import Beat
from core.spans import TRACEPARENT, Span
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


# A row and the span of its message's way out.
Committed: TypeAlias = tuple[OutboxRow, Span]


class Relay:
    """Publishes outbox rows: fresh ones from memory, left ones by `sweep`."""

    def __init__(self, bus: Bus, store: Store, owner: str, result_topic: str, traces: Traces) -> None:
        self._bus = bus
        self._store = store
        self.owner = owner
        self._result_topic = result_topic
        self._traces = traces
        self._topics: dict[tuple[str, str], Batcher[list[Outgoing], None]] = {}
        self._delete = Batcher(self._delete_rows, max_size=10_000, linger=FORGET_SECONDS)
        self._deleting: set[asyncio.Task[None]] = set()

    async def publish(self, rows: Sequence[Committed]) -> None:
        """Publishes rows just committed, and ends their spans. What cannot leave stays, and the sweep takes it.

        The claims run from `created_at`, which may be a moment before the commit.
        """
        claimed_at = min(row.created_at for row, _ in rows)
        _DIRECTLY.inc(await self._publish(rows, claimed_at))

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
            await self._delete_rows([list(found)])
            _FOUND.inc(len(found))
            claimed_at = time.time()
            ours = await self._store.keep_claims(
                self.owner, [row.outbox_id for row in rows if row.outbox_id not in found], lease_seconds=LEASE_SECONDS
            )
            unpublished = [(row, self._traces.send_again(row)) for row in rows if row.outbox_id in ours]
            published = await self._publish(unpublished, claimed_at)
            _BY_SWEEP.inc(published)
            if published < len(unpublished):
                return

    async def _publish(self, rows: Sequence[Committed], claimed_at: float) -> int:
        """How many the broker has confirmed; these go from the outbox, a moment later."""
        by_topic: dict[tuple[str, str], list[Committed]] = {}
        for each in rows:
            by_topic.setdefault((each[0].topic, each[0].subscription), []).append(each)
        leave_by = claimed_at + LEAVE_SECONDS
        return sum(await asyncio.gather(*(self._publish_to(*item, leave_by) for item in by_topic.items())))

    async def _publish_to(self, key: tuple[str, str], rows: Sequence[Committed], leave_by: float) -> int:
        failure = None
        try:
            await self._topic(key).submit([await self._message(row, leave_by) for row, _ in rows])
        except BusError as error:
            log.warning("%d messages are not published yet, left to the sweep: %s", len(rows), error)
            failure = "unpublished"
        for _, span in rows:
            span.end(failure)
        if failure:
            return 0
        self._forget_later([row.outbox_id for row, _ in rows])
        return len(rows)

    def _topic(self, key: tuple[str, str]) -> Batcher[list[Outgoing], None]:
        if key not in self._topics:
            self._topics[key] = Batcher(_Publish(self._bus, *key), max_size=500, in_flight=4)
        return self._topics[key]

    async def _message(self, row: OutboxRow, leave_by: float) -> Outgoing:
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
        return Outgoing(message, properties, key=envelope.request_id, leave_by=leave_by)

    def _forget_later(self, outbox_ids: list[int]) -> None:
        task = asyncio.create_task(self._forget(outbox_ids), name="forget")
        self._deleting.add(task)
        task.add_done_callback(self._deleting.discard)

    async def _forget(self, outbox_ids: list[int]) -> None:
        try:
            await self._delete.submit(outbox_ids)
        except StoreUnavailable as error:
            log.warning("%d published rows stay in the outbox for now: %s", len(outbox_ids), error)

    async def _delete_rows(self, groups: list[list[int]]) -> Sequence[None]:
        await self._store.published([*chain.from_iterable(groups)], lease_seconds=LEASE_SECONDS)
        return [None] * len(groups)


class _Publish:
    """Publishes batches to one topic, whose subscription it has made first: before it, messages would be lost."""

    def __init__(self, bus: Bus, topic: str, subscription: str) -> None:
        self._bus = bus
        self._topic = topic
        self._subscription = subscription
        self._ensured = False

    async def __call__(self, groups: list[list[Outgoing]]) -> Sequence[None]:
        if not self._ensured:
            await self._bus.ensure_subscription(self._topic, self._subscription)
            self._ensured = True
        publisher = await self._bus.publisher(self._topic, kept=True)
        await publisher.publish([*chain.from_iterable(groups)])
        return [None] * len(groups)


def join(envelope: str, task: TaskRef, body: bytes, *, data_ref: str | None = None) -> bytes:
    """The request message: the envelope's fields, the task, and the body as `data`, unchanged."""
    reference = f',"data_ref":"{data_ref}"' if data_ref is not None else ""
    head = f'{envelope[:-1]},"task":{encode(task).decode()}{reference},"data":'
    return b"".join((head.encode(), body, b"}"))
