"""Connections for statements: what must be durable, and what may be lost with the last moment before a crash."""

from __future__ import annotations

import asyncio
from typing import Any, Self

import asyncpg

from bus.postgres.errors import named

CONNECT_TIMEOUT = 5.0
STATEMENT_TIMEOUT = 60.0

# The tables are empty at one moment and hold a million rows at the next, so statistics are always wrong here.
# Every statement is written for one index; this leaves the planner no other way.
PLANNING = {
    "enable_seqscan": "off",
    "enable_bitmapscan": "off",
    "enable_sort": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "jit": "off",
}


class Pools:
    """Runs statements, each in a transaction of its own."""

    def __init__(self, durable: asyncpg.Pool, quick: asyncpg.Pool) -> None:
        self._durable = durable
        self._quick = quick

    @classmethod
    async def open(cls, url: str) -> Self:
        durable = await _pool(url, "on", size=2)
        try:
            return cls(durable, await _pool(url, "off", size=4))
        except BaseException:
            durable.terminate()
            raise

    async def durable(self, statement: str, *arguments: Any) -> Any:
        """The first value of the first row, once the statement is on disk."""
        with named():
            async with self._durable.acquire(timeout=CONNECT_TIMEOUT) as connection:
                return await connection.fetchval(statement, *arguments)

    async def quick(self, statement: str, *arguments: Any) -> list[asyncpg.Record]:
        """The rows. The commit reaches the disk within three times `wal_writer_delay`, 0.6 s by default
        (https://www.postgresql.org/docs/current/wal-async-commit.html): for what a crash may undo without harm.

        A lost claim, ack or nack is one more redelivery, which at-least-once delivery allows anyway.
        """
        with named():
            async with self._quick.acquire(timeout=CONNECT_TIMEOUT) as connection:
                return list(await connection.fetch(statement, *arguments))

    async def release(self, consumers: list[int]) -> None:
        """Ends these consumers and gives their messages back."""
        with named():
            async with self._quick.acquire(timeout=CONNECT_TIMEOUT) as connection:
                await release(connection, consumers, crashed=False)

    async def close(self) -> None:
        for pool in (self._durable, self._quick):
            try:
                async with asyncio.timeout(CONNECT_TIMEOUT):
                    await pool.close()
            except TimeoutError:
                pool.terminate()


async def release(connection: asyncpg.Connection, consumers: list[int], *, crashed: bool) -> None:
    """`crashed`: their messages remember it.

    Two statements: the second sees every claim that was committed before the first locked the consumers."""
    async with connection.transaction():
        gone = await connection.fetch("delete from agentos_bus.consumers where id = any ($1) returning id", consumers)
        await connection.execute(
            "with back as ("
            "  update agentos_bus.messages set consumer_id = null, crashes = crashes + $2"
            "  where consumer_id = any ($1)"
            "  returning subscription_id"
            ") select pg_notify('agentos_bus.' || id, '') from (select distinct subscription_id as id from back) t",
            [row["id"] for row in gone],
            int(crashed),
        )


async def _pool(url: str, synchronous_commit: str, *, size: int) -> asyncpg.Pool:
    with named():
        return await asyncpg.create_pool(
            url,
            min_size=0,  # a pool with a floor writes a traceback to the log each time it cannot keep it
            max_size=size,
            max_queries=2**31,  # no statement leaves a trace on its connection
            reset=_nothing_to_reset,
            timeout=CONNECT_TIMEOUT,
            command_timeout=STATEMENT_TIMEOUT,
            server_settings=PLANNING | {"synchronous_commit": synchronous_commit},
        )


async def _nothing_to_reset(connection: asyncpg.Connection) -> None:
    """Without this each statement costs a second round trip."""
