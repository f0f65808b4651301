"""The bus on Apache Pulsar."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Collection
from contextlib import AsyncExitStack
from functools import partial
from typing import Self

import pulsar

from bus.patience import patiently
from bus.port import Backlog, Outgoing
from bus.pulsar import subscribing
from bus.pulsar.admin import Admin
from bus.pulsar.attachment import Attachment
from bus.pulsar.blobs import Blobs
from bus.pulsar.bridge import close_in_thread, in_thread
from bus.pulsar.channels import OPEN_CHANNELS, PENDING_FRAMES, PulsarListening, channel_topic
from bus.pulsar.client import QUESTION_SECONDS, close_client, derive_admin_url, open_client
from bus.pulsar.journal import Journal
from bus.pulsar.publisher import Publishers, PulsarPublisher
from bus.pulsar.searching import find
from bus.pulsar.subscription import PulsarSubscription
from core.errors import BusClosed, BusUnavailable

# Looked up, never made.
CHECK_TOPIC = "agentos-check"


class PulsarBus:
    """`bus.port.Bus` on Pulsar. Made by `connect`, closed on the same event loop."""

    def __init__(self, url: str, token: str, client: pulsar.Client, admin: Admin) -> None:
        self._url = url
        self._token = token
        self._client = client
        # Frames have a connection of their own: a broker drops them while much else is on its way to us.
        self._listener = open_client(url, token)
        self._admin = admin
        self._topics = Publishers(client)
        self._channels = Publishers(client, limit=OPEN_CHANNELS, room=asyncio.Semaphore(PENDING_FRAMES))
        self._blobs = Blobs(client, self._topics)
        self._attached: set[Attachment] = set()
        self._closing: asyncio.Task[None] | None = None

    @classmethod
    async def connect(cls, url: str, *, token: str = "", admin_url: str = "") -> Self:
        """Connects to the broker at `url` (pulsar://host:6650). Raises `BusUnavailable`, `BusRefused`.

        `admin_url`: its admin API, by default on port 8080 of the same host; asked for backlogs, topics and places.
        """
        bus = cls(url, token, open_client(url, token), Admin(admin_url or derive_admin_url(url), token))
        try:
            await bus.check()
        except BaseException:
            await bus.close()
            raise
        return bus

    async def publisher(self, topic: str, *, batching: bool = False, kept: bool = False) -> PulsarPublisher:
        self._require_open()
        return await self._topics.get(topic, batching)

    async def subscribe(
        self,
        topic: str,
        subscription: str,
        *,
        window: int,
        prefetch: int = 1,
        max_attempts: int = 5,
        journal: bool = True,
    ) -> PulsarSubscription:
        self._require_open()
        joined = PulsarSubscription(
            self._attached,
            open_client(self._url, self._token),
            topic,
            subscription,
            window=window,
            prefetch=prefetch,
            max_attempts=max_attempts,
            publish=self._publish,
            ensure=self.ensure_subscription,
            journal_of=lambda topic, news: Journal(self._client, topic, self._topics.get, news, kept=journal),
        )
        await joined.start()
        return joined

    async def ensure_subscription(self, topic: str, subscription: str) -> None:
        self._require_open()
        await in_thread(
            lambda: subscribing.ensure_subscription(self._client, topic, subscription),
            f"making the subscription {subscription} of {topic}",
        )

    async def topics(self) -> list[str]:
        self._require_open()
        return await self._admin.topics()

    async def published(self, topic: str, since: float, keys: Collection[str]) -> set[str]:
        self._require_open()
        return await patiently(
            lambda: find(self._client, self._admin, topic, since, keys),
            f"looking for messages in {topic}",
            seconds=QUESTION_SECONDS,
        )

    async def backlog(self, topic: str, subscription: str) -> Backlog:
        self._require_open()
        return await self._admin.backlog(topic, subscription)

    async def send(self, channel: str, frame: bytes) -> None:
        self._require_open()
        await self._send(channel, Outgoing(frame))

    async def listen(self, channel: str, handler: Callable[[bytes], None]) -> PulsarListening:
        self._require_open()
        listening = PulsarListening(
            self._attached, self._listener, channel, handler, lambda frame: self._send(channel, frame)
        )
        await listening.start()
        return listening

    async def put_blob(self, data: bytes) -> str:
        self._require_open()
        return await self._blobs.put(data)

    async def get_blob(self, reference: str) -> bytes:
        self._require_open()
        return await self._blobs.get(reference)

    async def drop_blob(self, reference: str) -> None:
        self._require_open()
        await self._blobs.drop(reference)

    async def check(self) -> None:
        self._require_open()
        try:
            await in_thread(
                lambda: self._client.get_topic_partitions(CHECK_TOPIC), f"asking the broker at {self._url}"
            )
        except BusUnavailable:
            # The client tries again and again with a token that is refused; the admin API says that it is.
            with contextlib.suppress(BusUnavailable):
                await self._admin.backlog(CHECK_TOPIC, CHECK_TOPIC)
            raise

    async def close(self) -> None:
        if self._closing is None:
            self._closing = asyncio.create_task(self._close())
        await asyncio.shield(self._closing)

    async def _close(self) -> None:
        async with AsyncExitStack() as stack:
            # The clients last, and before the loop: their threads call back into the loop.
            for client in (self._client, self._listener):
                stack.push_async_callback(
                    close_in_thread, partial(close_client, client), f"closing the connection to {self._url}"
                )
            stack.push_async_callback(self._admin.close)
            for each in self._attached:
                stack.push_async_callback(each.close)

    async def _send(self, channel: str, frame: Outgoing) -> None:
        publisher = await self._channels.get(channel_topic(channel))
        await publisher.publish([frame])

    async def _publish(self, topic: str, message: Outgoing) -> None:
        publisher = await self.publisher(topic)
        await publisher.publish([message])

    def _require_open(self) -> None:
        if self._closing is not None:
            raise BusClosed("the bus is closed")
