"""The connections to Postgres, and the one place where the driver's errors become ours."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
from sqlalchemy import event
from sqlalchemy.exc import DBAPIError, DisconnectionError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

from core.errors import AgentOSError, ConfigurationError, StoreError, StoreUnavailable

CONNECT_SECONDS = 10.0
# A server that hangs must not hang its callers for ever. No statement here should take a hundredth of it.
STATEMENT_SECONDS = 60.0

# Postgres keeps the plan of a statement that was first run when the tables were small. Every statement here has its
# index, and is to use it from the first row on; and none is worth compiling.
PLANNING = {"enable_seqscan": "off", "jit": "off"}

# SQLSTATE: connection lost, only reading (a standby), deadlock, no connection or memory left, shutdown or start-up.
UNAVAILABLE = ("08", "25006", "40", "53", "57P")
# Wrong user or password, no such database: a retry will not help.
MISCONFIGURED = ("28", "3D")

# All that the driver, the pool and the socket raise. The driver calls it an internal error of its own when a
# connection is cut while a statement is being prepared.
FOREIGN = (
    *(DBAPIError, PoolTimeoutError, OSError),
    *(asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError),
)


class Pool:
    """Connections in autocommit: each statement is a transaction of its own."""

    def __init__(self, url: str, size: int) -> None:
        self._url = url
        self._own: asyncpg.Connection | None = None
        self._own_turn = asyncio.Lock()
        self._engine = create_async_engine(
            "postgresql+asyncpg://",
            async_creator=self._connect,
            isolation_level="AUTOCOMMIT",
            pool_size=size,
            max_overflow=0,
            hide_parameters=True,  # they hold prompts and completions
        )
        event.listen(self._engine.sync_engine, "checkout", _refuse_closed)

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[AsyncConnection]:
        """A connection for SQLAlchemy's statements. Raises `StoreUnavailable`, `ConfigurationError`, `StoreError`."""
        try:
            async with self._engine.connect() as connection:
                yield connection
        except FOREIGN as error:
            raise named(error) from None

    async def fetch(self, statement: str, *arguments: Any) -> list[Any]:
        """Runs a hot statement straight on asyncpg, which keeps it prepared and sends arrays in binary."""
        async with self.connection() as connection:
            raw = await connection.get_raw_connection()
            driver: Any = raw.driver_connection
            rows: list[Any] = await driver.fetch(statement, *arguments)
            return rows

    async def fetch_own(self, statement: str, *arguments: Any) -> list[Any]:
        """Runs a statement on a connection that is used for nothing else and stays open: what a session of Postgres
        holds, it holds until `release_own` or the end of the process. After it was lost, on a new one.
        """
        async with self._own_turn:
            try:
                if self._own is None or self._own.is_closed():
                    self._own = await self._connect()
                rows: list[Any] = await self._own.fetch(statement, *arguments)
            except FOREIGN as error:
                raise named(error) from None
            return rows

    async def release_own(self) -> None:
        """Closes that connection."""
        async with self._own_turn:
            if self._own is not None:
                own, self._own = self._own, None
                own.terminate()

    async def close(self) -> None:
        """Closes every connection. A second close does nothing."""
        await self.release_own()
        await self._engine.dispose()

    async def _connect(self) -> asyncpg.Connection:
        # asyncpg reads the address itself, so that it means the same here as to every tool on libpq.
        return await asyncpg.connect(
            self._url, timeout=CONNECT_SECONDS, command_timeout=STATEMENT_SECONDS, server_settings=PLANNING
        )


def _refuse_closed(connection: Any, *_: object) -> None:
    """Has the pool make a new connection where the server has closed this one (a restart, say)."""
    if connection.driver_connection.is_closed():
        raise DisconnectionError


def named(error: BaseException) -> AgentOSError:
    """Our name for an error of the driver. The driver's own text may quote a row, so it goes no further."""
    cause = error.orig.__cause__ or error.orig if isinstance(error, DBAPIError) and error.orig else error
    state = getattr(cause, "sqlstate", None) or ""
    what = f"{type(cause).__name__} {state}".strip()
    if state.startswith(MISCONFIGURED) or isinstance(cause, asyncpg.exceptions.ClientConfigurationError):
        return ConfigurationError(f"Postgres does not let us in ({what}): check address, user, password and database")
    if not state or state.startswith(UNAVAILABLE):
        return StoreUnavailable(f"Postgres cannot be reached now ({what})")
    return StoreError(f"Postgres refused a statement ({what})")
