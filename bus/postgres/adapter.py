"""The bus on Postgres: the embedded default, and enough for a small fleet."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Collection, Coroutine
from typing import Any, Self

from bus.port import Backlog
from bus.postgres import statements
from bus.postgres.channels import ChannelListening, Channels
from bus.postgres.leases import Leases
from bus.postgres.line import Line
from bus.postgres.pools import Pools
from bus.postgres.publisher import PostgresPublisher, Press
from bus.postgres.schema import ensure_schema
from bus.postgres.subscription import PostgresSubscription
from core.errors import BlobMissing, BusClosed

_TOPICS = "select distinct topic from agentos_bus.subscriptions"
_PUT_BLOB = "insert into agentos_bus.blobs (id, data) values ($1, $2)"
_GET_BLOB = "select data from agentos_bus.blobs where id = $1"
_DROP_BLOB = "delete from agentos_bus.blobs where id = $1"


class PostgresBus:
    """See `bus.port.Bus`. Holds one connection that listens and a few for statements."""

    def __init__(self, pools: Pools, url: str) -> None:
        self._pools = pools
        self._line = Line(url, self._restored)
        self._leases = Leases(self._line)
        self._press = Press(pools, durable=True)
        self._quick_press = Press(pools, durable=False)
        self._channels = Channels(pools, self._line)
        self._publishers: dict[tuple[str, bool], PostgresPublisher] = {}
        self._subscriptions: set[PostgresSubscription] = set()
        self._listenings: set[ChannelListening] = set()
        self._side_tasks: list[asyncio.Task[None]] = []
        self._closed = False

    @classmethod
    async def connect(cls, url: str) -> Self:
        """Connects to `url` (postgresql://…) and makes the bus's schema where it is missing.

        Raises `BusUnavailable` or `BusRefused`.
        """
        bus = cls(await Pools.open(url), url)
        try:
            await bus._line.open()
            await bus._line.run(ensure_schema)
        except BaseException:
            await bus.close()
            raise
        bus._watch(bus._line.keep())
        bus._watch(bus._leases.keep())
        return bus

    async def publisher(self, topic: str, *, batching: bool = False, kept: bool = False) -> PostgresPublisher:
        """See `bus.port.Bus`. `batching` changes nothing here."""
        self._must_be_open()
        publisher = self._publishers.get((topic, kept))
        if publisher is None or publisher.closed:
            press = self._quick_press if kept else self._press
            publisher = self._publishers[topic, kept] = PostgresPublisher(press, topic)
        return publisher

    async def subscribe(
        self,
        topic: str,
        subscription: str,
        *,
        window: int,
        prefetch: int = 1,
        max_attempts: int = 5,
        journal: bool = True,
    ) -> PostgresSubscription:
        """See `bus.port.Bus`. `journal` changes nothing here."""
        self._must_be_open()
        joined = PostgresSubscription(
            self._pools,
            self._line,
            self._leases,
            topic,
            subscription,
            window=window,
            prefetch=prefetch,
            max_attempts=max_attempts,
        )
        await joined.open()
        self._subscriptions.add(joined)
        return joined

    async def ensure_subscription(self, topic: str, subscription: str) -> None:
        """See `bus.port.Bus`."""
        self._must_be_open()
        await statements.ensure_subscription(self._pools, topic, subscription)

    async def topics(self) -> list[str]:
        """See `bus.port.Bus`."""
        self._must_be_open()
        return [row["topic"] for row in await self._pools.quick(_TOPICS)]

    async def published(self, topic: str, since: float, keys: Collection[str]) -> set[str]:
        """See `bus.port.Bus`. `since` changes nothing here: what is settled is gone."""
        self._must_be_open()
        return {row["key"] for row in await self._pools.quick(statements.PUBLISHED, topic, list(keys))}

    async def backlog(self, topic: str, subscription: str) -> Backlog:
        """See `bus.port.Bus`."""
        self._must_be_open()
        return Backlog(**dict((await self._pools.quick(statements.BACKLOG, topic, subscription))[0]))

    async def send(self, channel: str, frame: bytes) -> None:
        """See `bus.port.Bus`."""
        self._must_be_open()
        await self._channels.send(channel, frame)

    async def listen(self, channel: str, handler: Callable[[bytes], None]) -> ChannelListening:
        """See `bus.port.Bus`."""
        self._must_be_open()
        listening = await self._channels.listen(channel, handler)
        self._listenings.add(listening)
        return listening

    async def put_blob(self, data: bytes) -> str:
        """See `bus.port.Bus`."""
        self._must_be_open()
        reference = uuid.uuid4().hex
        await self._pools.durable(_PUT_BLOB, reference, data)
        return reference

    async def get_blob(self, reference: str) -> bytes:
        """See `bus.port.Bus`."""
        self._must_be_open()
        data = await self._pools.durable(_GET_BLOB, reference)
        if data is None:
            raise BlobMissing(f"the body {reference} is no longer there")
        return bytes(data)

    async def drop_blob(self, reference: str) -> None:
        """See `bus.port.Bus`."""
        self._must_be_open()
        await self._pools.quick(_DROP_BLOB, reference)

    async def check(self) -> None:
        """See `bus.port.Bus`."""
        self._must_be_open()
        await self._pools.quick("select 1")
        await self._line.run(lambda connection: connection.execute("select 1"))
        for task in self._side_tasks:
            if task.done():
                task.result()

    async def close(self) -> None:
        """See `bus.port.Bus`."""
        if self._closed:
            return
        self._closed = True
        for subscription in self._subscriptions:
            await subscription.close()
        for listening in self._listenings:
            await listening.close()
        for publisher in self._publishers.values():
            await publisher.close()
        await self._press.drain()
        await self._quick_press.drain()
        await self._channels.drain()
        for task in self._side_tasks:
            task.cancel()
        await asyncio.gather(*self._side_tasks, return_exceptions=True)
        await self._line.close()
        await self._pools.close()

    def _must_be_open(self) -> None:
        if self._closed:
            raise BusClosed("the bus is closed")

    def _watch(self, coroutine: Coroutine[Any, Any, None]) -> None:
        self._side_tasks.append(asyncio.create_task(coroutine))

    async def _restored(self) -> None:
        await self._leases.restore()
