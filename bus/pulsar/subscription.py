"""Consuming: a listener that blocks while the window is full, so that nothing waits behind a busy consumer.

The client asks the broker for the next message only after its listener has returned. With a receiver queue of
`prefetch` messages a consumer holds its window and at most `prefetch` - 1 more (per partition and batch).
The listener's thread may be blocked for long, so each subscription has a client of its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import pulsar

from bus.port import (
    DEAD_LETTER_SUBSCRIPTION,
    Delivery,
    Outgoing,
    dead_letter_properties,
    dead_letter_topic,
)
from bus.pulsar.attachment import Attachment
from bus.pulsar.bridge import Mailbox, Window, close_in_thread, in_thread
from bus.pulsar.client import close_client
from bus.pulsar.errors import from_exception
from bus.pulsar.journal import Journal
from bus.pulsar.reading import again_properties, to_delivery
from core.errors import BusClosed

# The shortest delay that the client takes; only what is given back uses its own nack.
GIVE_BACK_MS = 100

Publish = Callable[[str, Outgoing], Awaitable[None]]
Ensure = Callable[[str, str], Awaitable[None]]


def journal_topic(topic: str, subscription: str) -> str:
    """Beside the dead letters."""
    return f"{topic}-{subscription}-journal"


class PulsarSubscription(Attachment):
    """One consumer of a Shared subscription. `publish` and `ensure` are the bus's own.

    A message is in one of three places here: in the mailbox (nobody has looked at it), put aside (another consumer
    has started it, and may have died of it), held (received and not settled).
    """

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
        journal_of: Callable[[str, Callable[[], None]], Journal],
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
        self._aside: dict[bytes, pulsar.Message] = {}
        self._news = False
        self._journal = journal_of(journal_topic(topic, subscription), self._hear_news)
        self._consumer: pulsar.Consumer | None = None

    async def _open(self) -> None:
        await self._journal.open()
        consumer: pulsar.Consumer = await in_thread(
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
        self._consumer = consumer
        self._journal.watch(consumer.is_connected)

    async def receive(self) -> list[Delivery]:
        while True:
            self._arrived.clear()
            self._require_open()
            deliveries = [each for message in self._incoming() if (each := self._deliver(message))]
            if deliveries:
                self._journal.started(deliveries)
                return deliveries
            await self._arrived.wait()

    async def ack(self, deliveries: Sequence[Delivery]) -> None:
        consumer = self._require_open()
        settled = []
        try:
            for delivery in deliveries:
                message_id = self._held.pop(delivery.handle, None)
                if message_id is not None:
                    settled.append(delivery.handle)
                    consumer.acknowledge(message_id)
        except pulsar.PulsarException as error:
            raise from_exception(error, f"acknowledging on {self._topic}") from error
        finally:
            self._journal.settle(settled)
            self._window.free(len(settled))

    async def nack(self, delivery: Delivery, *, delay: float, reason: str, counted: bool = True) -> None:
        if counted and delivery.attempt >= self._max_attempts:
            await self.dead_letter(delivery, reason=reason)
            return
        properties = again_properties(delivery, counted=counted)
        await self._move(delivery, self._topic, Outgoing(delivery.body, properties, delay, delivery.key))

    async def dead_letter(self, delivery: Delivery, *, reason: str) -> None:
        topic = dead_letter_topic(self._topic, self._subscription)
        await self._ensure(topic, DEAD_LETTER_SUBSCRIPTION)
        properties = dead_letter_properties(delivery, reason)
        await self._move(delivery, topic, Outgoing(delivery.body, properties, key=delivery.key))

    async def give_back(self, delivery: Delivery) -> None:
        self._require_open()
        if delivery.handle in self._held:
            self._journal.gave_back(delivery.handle)
            self._return(delivery.handle)

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
        await self._journal.leave()
        if self._consumer is not None:
            await close_in_thread(self._consumer.close, f"leaving {self._topic}")
        await close_in_thread(lambda: close_client(self._client), f"leaving {self._topic}")
        await self._journal.close()

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

    def _incoming(self) -> list[pulsar.Message]:
        messages = self._mailbox.take()
        if self._news:
            self._news = False
            aside, self._aside = self._aside, {}
            messages = [*aside.values(), *messages]
        return messages

    def _hear_news(self) -> None:
        self._news = True
        self._ring()

    def _return_unseen(self) -> None:
        """What has come and will not be received."""
        for message in self._mailbox.take():
            if delivery := self._deliver(message):
                self._return(delivery.handle)
        aside, self._aside = self._aside, {}
        for place, message in aside.items():
            self._held[place] = message.message_id()
            self._return(place)

    def _return(self, place: bytes) -> None:
        self._require_open().negative_acknowledge(self._held.pop(place))
        self._window.free(1)

    def _hear(self, _consumer: pulsar.Consumer, message: pulsar.Message) -> None:
        """In the listener's thread."""
        self._mailbox.put(message)
        self._window.take()

    def _deliver(self, message: pulsar.Message) -> Delivery | None:
        message_id = message.message_id()
        place = message_id.serialize()
        known = self._journal.deliveries
        # A broker that crashed has forgotten acks: what was done is not done again.
        if place in known.settled:
            self._require_open().acknowledge(message_id)
            self._window.free(1)
            return None
        # After a reconnect the broker sends again what is unsettled here. It is handled once, and settled under
        # the newer id, which belongs to the batch that the broker now waits for.
        if place in self._held:
            self._held[place] = message_id
            self._window.free(1)
            return None
        holder, crashes = known.start(place)
        if holder and self._journal.inquire(place, holder):
            if place in self._aside:
                self._window.free(1)
            self._aside[place] = message
            return None
        self._held[place] = message_id
        return to_delivery(self._topic, message, place, crashes)
