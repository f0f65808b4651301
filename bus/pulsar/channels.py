"""Channels: non-persistent topics. Frames are neither stored nor repeated."""

from __future__ import annotations

import uuid
from collections.abc import Callable

import pulsar

from bus.pulsar.attachment import Attachment
from bus.pulsar.bridge import Mailbox, close_in_thread, in_thread

# The broker drops frames silently where one connection has more than 1,000 of them under way.
PENDING_FRAMES = 500
# Channels come and go with the gateways that listen to them: how many producers are kept.
OPEN_CHANNELS = 1_000
# Frames that the client takes ahead of the handler; beyond them the broker drops.
RECEIVER_QUEUE = 20_000


def channel_topic(channel: str) -> str:
    """The topic behind a channel."""
    return f"non-persistent://public/default/{channel}"


class PulsarListening(Attachment):
    """A consumer of its own for one listener."""

    def __init__(
        self, attached: set[Attachment], client: pulsar.Client, channel: str, handler: Callable[[bytes], None]
    ) -> None:
        super().__init__(attached)
        self._client = client
        self._channel = channel
        self._handler = handler
        self._mailbox: Mailbox[pulsar.Message] = Mailbox(self._hand_over)
        self._consumer: pulsar.Consumer | None = None

    async def _open(self) -> None:
        self._consumer = await in_thread(
            lambda: self._client.subscribe(
                channel_topic(self._channel),
                f"agentos-{uuid.uuid4().hex}",
                consumer_type=pulsar.ConsumerType.Exclusive,
                receiver_queue_size=RECEIVER_QUEUE,
                message_listener=lambda _consumer, message: self._mailbox.put(message),
            ),
            f"listening to {self._channel}",
        )

    async def _leave(self) -> None:
        if self._consumer is not None:
            # Unsubscribed, not closed: the broker keeps the subscription of a consumer that has merely gone.
            await close_in_thread(self._consumer.unsubscribe, f"leaving {self._channel}")

    def _hand_over(self) -> None:
        for message in self._mailbox.take():
            if not self.closed:
                self._handler(message.data())
