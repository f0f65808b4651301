"""Consuming: a listener that blocks while the window is full, so that nothing waits behind a busy consumer.

The client asks the broker for the next message only after its listener has returned. With a receiver queue of
`prefetch` messages a consumer holds its window and at most `prefetch` - 1 more (per partition and batch).
The listener's thread may be blocked for long, so each subscription has a client of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping, Sequence

import pulsar

from bus.port import (
    ATTEMPT_PROPERTY,
    CRASHES_PROPERTY,
    DEAD_LETTER_SUBSCRIPTION,
    PUBLISHED_PROPERTY,
    Delivery,
    Outgoing,
    dead_letter_properties,
    dead_letter_topic,
)
from bus.pulsar.attachment import Attachment
from bus.pulsar.bridge import Mailbox, Window, close_in_thread, in_thread
from bus.pulsar.client import close_client
from bus.pulsar.errors import from_exception
from core.errors import BusClosed

# The shortest delay that the client takes; only what is given back uses its own nack.
GIVE_BACK_MS = 100

# Messages settled last, by their place: recognised when they are delivered again.
REMEMBERED = 10_000
Publish = Callable[[str, Outgoing], Awaitable[None]]
Ensure = Callable[[str, str], Awaitable[None]]


class PulsarSubscription(Attachment):
    """One consumer of a Shared subscription. `publish` and `ensure` are the bus's own."""

    def __init__(
        self,
        attached: set[Attachment],
        client: pulsar.Client,
        topic: str,
        subscription: str,
        *,
        window: int,
        prefetch: int,
        max_attempts: int,
        publish: Publish,
        ensure: Ensure,
    ) -> None:
        super().__init__(attached)
        self._client = client
        self._topic = topic
        self._subscription = subscription
        self._prefetch = prefetch
        self._max_attempts = max_attempts
        self._publish = publish
        self._ensure = ensure
        self._window = Window(window)
        self._arrived = asyncio.Event()
        self._mailbox: Mailbox[pulsar.Message] = Mailbox(self._ring)
        self._paused = False
        self._held: dict[bytes, object] = {}
        self._settled: dict[bytes, None] = {}
        self._consumer: pulsar.Consumer | None = None

    async def _open(self) -> None:
        self._consumer = await in_thread(
            lambda: self._client.subscribe(
                self._topic,
                self._subscription,
                consumer_type=pulsar.ConsumerType.Shared,
                initial_position=pulsar.InitialPosition.Earliest,
                receiver_queue_size=self._prefetch,
                negative_ack_redelivery_delay_ms=GIVE_BACK_MS,
                message_listener=self._hear,
            ),
            f"subscribing to {self._topic}",
        )

    async def receive(self) -> list[Delivery]:
        while True:
            self._arrived.clear()
            self._require_open()
            deliveries = [each for message in self._mailbox.take() if (each := self._deliver(message))]
            if deliveries:
                return deliveries
            await self._arrived.wait()

    async def ack(self, deliveries: Sequence[Delivery]) -> None:
        consumer = self._require_open()
        settled = 0
        try:
            for delivery in deliveries:
                message_id = self._held.pop(delivery.handle, None)
                if message_id is not None:
                    settled += 1
                    self._remember(delivery.handle)
                    consumer.acknowledge(message_id)
        except pulsar.PulsarException as error:
            raise from_exception(error, f"acknowledging on {self._topic}") from error
        finally:
            self._window.free(settled)

    async def nack(self, delivery: Delivery, *, delay: float, reason: str) -> None:
        if delivery.attempt >= self._max_attempts:
            await self.dead_letter(delivery, reason=reason)
            return
        properties = {
            **delivery.properties,
            ATTEMPT_PROPERTY: str(delivery.attempt),
            CRASHES_PROPERTY: str(delivery.crashes),
            PUBLISHED_PROPERTY: str(delivery.published_at),
        }
        await self._move(delivery, self._topic, Outgoing(delivery.body, properties, delay))

    async def dead_letter(self, delivery: Delivery, *, reason: str) -> None:
        topic = dead_letter_topic(self._topic, self._subscription)
        await self._ensure(topic, DEAD_LETTER_SUBSCRIPTION)
        await self._move(delivery, topic, Outgoing(delivery.body, dead_letter_properties(delivery, reason)))

    async def give_back(self, delivery: Delivery) -> None:
        self._require_open()
        self._return([delivery.handle])

    def allow(self, count: int) -> None:
        if not self._paused:
            self._window.resize(count)

    async def pause(self) -> None:
        self._require_open()
        self.allow(0)
        self._paused = True
        self._return_unseen()

    def _release(self) -> None:
        # A consumer cannot be closed while its listener is blocked.
        self._window.open_for_ever()
        self._arrived.set()

    async def _leave(self) -> None:
        if self._consumer is not None:
            await close_in_thread(self._consumer.close, f"leaving {self._topic}")
        await close_in_thread(lambda: close_client(self._client), f"leaving {self._topic}")

    async def _move(self, delivery: Delivery, topic: str, message: Outgoing) -> None:
        """Published elsewhere and confirmed, then acked: a crash in between doubles it, never loses it."""
        self._require_open()
        if delivery.handle in self._held:
            await self._publish(topic, message)
            await self.ack([delivery])

    def _require_open(self) -> pulsar.Consumer:
        if self.closed or self._consumer is None:
            raise BusClosed(f"the subscription to {self._topic} is closed")
        return self._consumer

    def _ring(self) -> None:
        if not self._window.size and not self.closed:
            self._return_unseen()
        self._arrived.set()

    def _return_unseen(self) -> None:
        """What has come and will not be received."""
        deliveries = [self._deliver(message) for message in self._mailbox.take()]
        self._return([delivery.handle for delivery in deliveries if delivery])

    def _return(self, places: Sequence[bytes]) -> None:
        consumer = self._require_open()
        for place in places:
            message_id = self._held.pop(place, None)
            if message_id is not None:
                consumer.negative_acknowledge(message_id)
                self._window.free(1)

    def _hear(self, _consumer: pulsar.Consumer, message: pulsar.Message) -> None:
        """In the listener's thread."""
        self._mailbox.put(message)
        self._window.take()

    def _remember(self, place: bytes) -> None:
        self._settled[place] = None
        if len(self._settled) > REMEMBERED:
            del self._settled[next(iter(self._settled))]

    def _deliver(self, message: pulsar.Message) -> Delivery | None:
        message_id = message.message_id()
        place = message_id.serialize()
        # A broker that crashed has forgotten acks: what was done here is not done again.
        if place in self._settled:
            self._require_open().acknowledge(message_id)
            self._window.free(1)
            return None
        known = place in self._held
        # After a reconnect the broker sends again what is unsettled here. It is handled once, and settled under
        # the newer id, which belongs to the batch that the broker now waits for.
        self._held[place] = message_id
        if known:
            self._window.free(1)
            return None
        properties: dict[str, str] = message.properties()
        attempt = 1 + _count(properties, ATTEMPT_PROPERTY)
        crashes = _count(properties, CRASHES_PROPERTY)
        return Delivery(
            self._topic, message.data(), properties, attempt, place, _published_at(message, properties), crashes
        )


def _count(properties: Mapping[str, str], name: str) -> int:
    """0 also where a stranger wrote something else."""
    text = properties.get(name, "")
    return int(text) if text.isdecimal() else 0


def _published_at(message: pulsar.Message, properties: Mapping[str, str]) -> float:
    first = properties.get(PUBLISHED_PROPERTY)
    with contextlib.suppress(ValueError):
        if first is not None:
            return float(first)
    milliseconds: int = message.publish_timestamp()
    return milliseconds / 1000
