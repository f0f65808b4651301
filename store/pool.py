"""The connections to Postgres, and the one place where the driver's errors become ours."""

from __future__ import annotations

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
        # asyncpg reads the address itself, so that it means the same here as to every tool on libpq.
        self._engine = create_async_engine(
            "postgresql+asyncpg://",
            async_creator=lambda: asyncpg.connect(url, timeout=CONNECT_SECONDS, command_timeout=STATEMENT_SECONDS),
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

    async def close(self) -> None:
        """Closes every connection. A second close does nothing."""
        await self._engine.dispose()


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
