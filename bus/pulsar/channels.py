"""Channels: non-persistent topics. Frames are neither stored nor repeated."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import Awaitable, Callable

import pulsar

from bus.port import Outgoing
from bus.pulsar.attachment import Attachment
from bus.pulsar.bridge import Mailbox, close_in_thread, in_thread
from bus.pulsar.client import OPERATION_SECONDS
from core.errors import BusUnavailable

# The broker drops frames silently where one connection has more than 1,000 of them under way.
PENDING_FRAMES = 500
# Channels come and go with the gateways that listen to them: how many producers are kept.
OPEN_CHANNELS = 1_000
# Frames that the client takes ahead of the handler; beyond them the broker drops.
RECEIVER_QUEUE = 20_000
# Property of the frame by which a listener learns that it is being heard.
_PROBE = "agentos-probe"
PROBE_SECONDS = 0.1


def channel_topic(channel: str) -> str:
    """The topic behind a channel."""
    return f"non-persistent://public/default/{channel}"


class PulsarListening(Attachment):
    """A consumer of its own for one listener. `send` sends to the channel."""

    def __init__(
        self,
        attached: set[Attachment],
        client: pulsar.Client,
        channel: str,
        handler: Callable[[bytes], None],
        send: Callable[[Outgoing], Awaitable[None]],
    ) -> None:
        super().__init__(attached)
        self._client = client
        self._channel = channel
        self._handler = handler
        self._send = send
        self._name = uuid.uuid4().hex
        self._ready = asyncio.Event()
        self._mailbox: Mailbox[pulsar.Message] = Mailbox(self._hand_over)
        self._consumer: pulsar.Consumer | None = None

    async def _open(self) -> None:
        self._consumer = await in_thread(
            lambda: self._client.subscribe(
                channel_topic(self._channel),
                f"agentos-{self._name}",
                consumer_type=pulsar.ConsumerType.Exclusive,
                receiver_queue_size=RECEIVER_QUEUE,
                message_listener=lambda _consumer, message: self._mailbox.put(message),
            ),
            f"listening to {self._channel}",
        )
        await self._hear_ourselves()

    async def _hear_ourselves(self) -> None:
        """`subscribe` returns before the broker knows that we take frames; until then it drops them."""
        try:
            async with asyncio.timeout(OPERATION_SECONDS):
                while not self._ready.is_set():
                    await self._send(Outgoing(b"", {_PROBE: self._name}))
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(self._ready.wait(), PROBE_SECONDS)
        except TimeoutError as error:
            raise BusUnavailable(f"listening to {self._channel}: the broker lets no frame through") from error

    async def _leave(self) -> None:
        if self._consumer is not None:
            # Unsubscribed, not closed: the broker keeps the subscription of a consumer that has merely gone.
            await close_in_thread(self._consumer.unsubscribe, f"leaving {self._channel}")

    def _hand_over(self) -> None:
        for message in self._mailbox.take():
            prober = message.properties().get(_PROBE)
            if prober == self._name:
                self._ready.set()
            elif prober is None and not self.closed:
                self._handler(message.data())
