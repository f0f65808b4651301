"""Publishing: sends without waiting, confirmations gathered in bursts."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Sequence
from datetime import timedelta
from functools import partial
from typing import Any

import pulsar

from bus.port import Outgoing
from bus.pulsar.bridge import Mailbox, close_in_thread, in_thread
from bus.pulsar.errors import from_exception, from_result
from core.errors import BusClosed, BusError, BusUnavailable

_log = logging.getLogger(__name__)

# Sends of one publisher that may wait for their confirmation. The client's own limit must stay above: beyond it
# a send fails (trap: ProducerQueueIsFull at 1,000).
PENDING_SENDS = 5_000
# A send that is not confirmed by then has failed, as far as we know. Shorter than the lease of an outbox row, so that
# no two coordinators have one under way.
SEND_TIMEOUT_MILLISECONDS = 10_000
# What a batching publisher gathers into one entry; the broker's limit for an entry is 5 MiB.
BATCH_MESSAGES = 1_000
BATCH_BYTES = 512 << 10
BATCH_MILLISECONDS = 1


class _Call:
    """One call of `publish`: what is still unconfirmed, and the first thing that went wrong."""

    def __init__(self, count: int) -> None:
        self.missing = count
        self.error: BusError | None = None
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def settle(self) -> None:
        self.missing -= 1
        if self.missing or self.done.done():
            return
        if self.error is None:
            self.done.set_result(None)
        else:
            self.done.set_exception(self.error)


class PulsarPublisher:
    """Publishes to one topic. `room` bounds the sends that are under way."""

    def __init__(self, topic: str, producer: pulsar.Producer, room: asyncio.Semaphore | None = None) -> None:
        self.topic = topic
        self._producer = producer
        self._room = room or asyncio.Semaphore(PENDING_SENDS)
        self._confirmations: Mailbox[tuple[_Call, Any]] = Mailbox(self._confirm)
        self.closed = False

    async def publish(self, messages: Sequence[Outgoing]) -> None:
        if not messages:
            return
        call = _Call(len(messages))
        confirmed = partial(self._confirmed, call)
        try:
            for message in messages:
                await self._room.acquire()
                self._send(message, confirmed)
        except BaseException:
            call.done.cancel()  # nobody waits for what was sent before
            raise
        await call.done

    async def close(self) -> None:
        """Closes the producer for all who share it; sends under way end with `BusClosed`."""
        if not self.closed:
            self.closed = True
            await close_in_thread(self._producer.close, f"closing the producer of {self.topic}")

    def _send(self, message: Outgoing, confirmed: partial[None]) -> None:
        if self.closed:
            self._room.release()
            raise BusClosed(f"publishing to {self.topic}: the publisher is closed")
        if message.leave_by is not None and time.time() > message.leave_by:
            self._room.release()
            raise BusUnavailable(f"publishing to {self.topic}: what should have left before was not sent")
        try:
            self._producer.send_async(
                message.body,
                confirmed,
                properties=dict(message.properties) if message.properties else None,
                partition_key=message.key,
                deliver_after=timedelta(seconds=message.deliver_after) if message.deliver_after else None,
            )
        except pulsar.PulsarException as error:
            self._room.release()
            raise from_exception(error, f"publishing to {self.topic}") from error

    def _confirmed(self, call: _Call, result: Any, _message_id: Any) -> None:
        """In a thread of the client."""
        self._confirmations.put((call, result))

    def _confirm(self) -> None:
        for call, result in self._confirmations.take():
            self._room.release()
            if result != pulsar.Result.Ok and call.error is None:
                call.error = from_result(result, f"publishing to {self.topic}")
            call.settle()


class Publishers:
    """Makes publishers once and keeps them; beyond `limit` the least recently used one is closed."""

    def __init__(
        self, client: pulsar.Client, *, limit: int | None = None, room: asyncio.Semaphore | None = None
    ) -> None:
        self._client = client
        self._limit = limit
        self._room = room
        self._made: OrderedDict[tuple[str, bool], asyncio.Task[PulsarPublisher]] = OrderedDict()
        self._closing: set[asyncio.Task[None]] = set()

    async def get(self, topic: str, batching: bool = False) -> PulsarPublisher:
        """Raises `BusError`. A caller that is cancelled does not disturb the others that wait for the same."""
        key = (topic, batching)
        making = self._made.get(key)
        if making is None or _spent(making):
            making = self._made[key] = asyncio.create_task(self._make(topic, batching))
            self._evict()
        self._made.move_to_end(key)
        return making.result() if making.done() else await asyncio.shield(making)

    async def _make(self, topic: str, batching: bool) -> PulsarPublisher:
        producer = await in_thread(
            lambda: self._client.create_producer(
                topic,
                max_pending_messages=2 * PENDING_SENDS,
                send_timeout_millis=SEND_TIMEOUT_MILLISECONDS,
                batching_enabled=batching,
                batching_max_messages=BATCH_MESSAGES,
                batching_max_allowed_size_in_bytes=BATCH_BYTES,
                batching_max_publish_delay_ms=BATCH_MILLISECONDS,
            ),
            f"making a producer for {topic}",
        )
        return PulsarPublisher(topic, producer, self._room)

    def _evict(self) -> None:
        if self._limit is None or len(self._made) <= self._limit:
            return
        _, making = self._made.popitem(last=False)
        task = asyncio.create_task(self._close(making))
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    async def _close(self, making: asyncio.Task[PulsarPublisher]) -> None:
        try:
            await (await making).close()
        except BusError as error:
            _log.warning("closing an idle producer: %s", error)


def _spent(making: asyncio.Task[PulsarPublisher]) -> bool:
    """Failed, or closed since."""
    return making.done() and (making.cancelled() or making.exception() is not None or making.result().closed)
