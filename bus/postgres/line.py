"""The one long-lived connection of a process: notifications arrive on it, and its life is the process's own."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections import defaultdict
from collections.abc import Awaitable, Callable
from typing import Any

import asyncpg

from bus.postgres.errors import named
from bus.postgres.pools import CONNECT_TIMEOUT, PLANNING
from bus.postgres.schema import LOCK_CLASS
from core.errors import BusError, BusUnavailable

FIRST_PAUSE = 0.05
LONGEST_PAUSE = 1.0

Hearer = Callable[[str], None]
log = logging.getLogger(__name__)


class Line:
    """Keeps the connection up and its channels heard; `restored` runs after each reconnection.

    `session` is the advisory lock that this connection holds: while it stands, the process lives.
    """

    def __init__(self, url: str, restored: Callable[[], Awaitable[None]]) -> None:
        self._url = url
        self._restored = restored
        self._hearers: defaultdict[str, set[Hearer]] = defaultdict(set)
        self._connection: asyncpg.Connection | None = None
        self._turn = asyncio.Lock()  # a connection does one thing at a time
        self._lost = asyncio.Event()
        self.session = 0

    async def open(self) -> None:
        """Raises `BusUnavailable` or `BusRefused`."""
        self._connection = await self._connect()

    async def keep(self) -> None:
        """Reconnects whenever the connection is lost, until cancelled."""
        while True:
            await self._lost.wait()
            log.warning("bus: connection to Postgres lost")
            self._connection = None
            pause = FIRST_PAUSE
            while not await self._reconnected():
                await asyncio.sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE)
            log.info("bus: connection to Postgres is back")

    async def run(self, task: Callable[[asyncpg.Connection], Awaitable[Any]]) -> Any:
        """Does `task` with the connection. Raises `BusUnavailable` while it is down."""
        async with self._turn:
            if self._connection is None or self._connection.is_closed():
                raise BusUnavailable("Postgres cannot be reached now")
            with named():
                return await task(self._connection)

    async def hear(self, channel: str, hearer: Hearer) -> None:
        """Calls `hearer` with the payload of each notification from now on, also after a reconnection."""
        await self.run(lambda connection: connection.add_listener(channel, self._heard))
        self._hearers[channel].add(hearer)

    async def unhear(self, channel: str, hearer: Hearer) -> None:
        """Stops `hear`."""
        self._hearers[channel].discard(hearer)
        if self._hearers[channel]:
            return
        del self._hearers[channel]
        try:
            await self.run(lambda connection: connection.remove_listener(channel, self._heard))
        except BusUnavailable:
            return  # the server forgot the channel when the connection ended

    async def close(self) -> None:
        """Ends the connection, and with it the session's lock."""
        async with self._turn:
            connection, self._connection = self._connection, None
            if connection is not None and not connection.is_closed():
                connection.remove_termination_listener(self._terminated)
                with named():
                    await connection.close(timeout=CONNECT_TIMEOUT)

    def _heard(self, connection: asyncpg.Connection, pid: int, channel: str, payload: str) -> None:
        for hearer in tuple(self._hearers.get(channel, ())):
            hearer(payload)

    def _terminated(self, connection: asyncpg.Connection) -> None:
        self._lost.set()

    async def _reconnected(self) -> bool:
        try:
            self._lost.clear()
            self._connection = await self._connect()
            await self._restored()
        except BusError as error:
            log.debug("bus: still no connection to Postgres: %s", error)
            if self._connection is not None:
                self._connection.remove_termination_listener(self._terminated)
                self._connection.terminate()
                self._connection = None
            return False
        return True

    async def _connect(self) -> asyncpg.Connection:
        with named():
            connection = await asyncpg.connect(
                self._url,
                timeout=CONNECT_TIMEOUT,
                command_timeout=CONNECT_TIMEOUT,
                server_settings=PLANNING | {"synchronous_commit": "off"},
            )
            connection.add_termination_listener(self._terminated)
            # A new number each time: the server may hold the lock of a connection that is lost for a while yet.
            self.session = secrets.randbits(31)
            await connection.execute("select pg_advisory_lock($1, $2)", LOCK_CLASS, self.session)
            for channel in self._hearers:
                await connection.add_listener(channel, self._heard)
        return connection
