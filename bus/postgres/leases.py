"""Who is alive: signs of life of our own consumers, and messages of dead ones given back."""

from __future__ import annotations

import asyncio
import logging
from typing import Any, Protocol

import asyncpg

from bus.postgres.line import Line
from bus.postgres.pools import release
from bus.postgres.schema import LOCK_CLASS
from core.errors import BusUnavailable

LEASE_SECONDS = 10.0
_RENEW_EVERY = 3.0
_LOOK_EVERY = 1.0

_JOIN = """
insert into agentos_bus.consumers (subscription_id, session) values ($1, $2) returning id
"""
_RENEW = """
update agentos_bus.consumers set renewed_at = now() where id = any ($1)
"""
# After a reconnection: the same consumers under the lock of the new connection. Returns those still there.
_REJOIN = """
update agentos_bus.consumers set session = $2, joined_at = now(), renewed_at = now() where id = any ($1) returning id
"""
# Dead: joined in this run of the server, and its connection is gone (the process was killed: Postgres saw its
# socket close); or without a sign of life for the length of a lease (it stands still, or its machine is gone).
# A restart of Postgres takes every lock away: whoever joined before it has the length of a lease to come back.
_DEAD = """
select id from agentos_bus.consumers c
where greatest(renewed_at, pg_postmaster_start_time()) < now() - make_interval(secs => $1)
   or joined_at > pg_postmaster_start_time() and not exists (
       select from pg_locks
       where locktype = 'advisory' and objsubid = 2 and classid = $2::bigint::oid and objid = c.session::oid
         and database = (select oid from pg_database where datname = current_database())
   )
"""


class Consumer(Protocol):
    """What a lease is kept for."""

    consumer_id: int

    async def rejoin(self) -> None:
        """Its row is gone: others have its messages. Begins anew."""

    def wake(self) -> None:
        """Looks for messages, and at those it holds: notifications and settlements may have been lost."""


class Leases:
    """The consumers of this process."""

    def __init__(self, line: Line) -> None:
        self._line = line
        self._consumers: set[Consumer] = set()
        self._no_look_before = 0.0

    async def join(self, subscription_id: int) -> int:
        """A new consumer's id. Its messages are safe from others while this process lives."""
        return int(
            await self._line.run(lambda connection: connection.fetchval(_JOIN, subscription_id, self._line.session))
        )

    def add(self, consumer: Consumer) -> None:
        self._consumers.add(consumer)

    def discard(self, consumer: Consumer) -> None:
        self._consumers.discard(consumer)

    async def keep(self) -> None:
        """Renews and looks, until cancelled."""
        loop = asyncio.get_running_loop()
        renew_at = loop.time() + _RENEW_EVERY
        while True:
            await asyncio.sleep(_LOOK_EVERY)
            try:
                if loop.time() >= renew_at:
                    renew_at = loop.time() + _RENEW_EVERY
                    await self._line.run(self._renew)
                if loop.time() >= self._no_look_before:
                    await self._line.run(_give_back)
            except BusUnavailable:
                continue  # the line says so in the log, and reconnects

    async def restore(self) -> None:
        """After a reconnection. What cut this connection may have cut all: others get time to come back too."""
        self._no_look_before = asyncio.get_running_loop().time() + LEASE_SECONDS
        kept = await self._line.run(self._rejoin)
        for consumer in tuple(self._consumers):
            if consumer.consumer_id not in kept:
                await consumer.rejoin()
            consumer.wake()

    def _ids(self) -> list[int]:
        return [consumer.consumer_id for consumer in self._consumers]

    async def _renew(self, connection: asyncpg.Connection) -> None:
        await connection.execute(_RENEW, self._ids())

    async def _rejoin(self, connection: asyncpg.Connection) -> set[int]:
        return {row["id"] for row in await connection.fetch(_REJOIN, self._ids(), self._line.session)}


async def _give_back(connection: asyncpg.Connection) -> Any:
    dead = [row["id"] for row in await connection.fetch(_DEAD, LEASE_SECONDS, LOCK_CLASS)]
    if dead:
        logging.getLogger(__name__).warning("bus: %d consumers are dead; their messages go to others", len(dead))
        await release(connection, dead, crashed=True)
