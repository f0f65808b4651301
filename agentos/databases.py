"""Makes the databases ready for `agentos up`: the store's tables, the bus, and a worker's own role."""

from __future__ import annotations

from urllib.parse import urlsplit, urlunsplit

import asyncpg

from bus.postgres import PostgresBus
from core.errors import PartError

DATABASE = "agentos"
WORKER_ROLE = "agentos_worker"
BUS_SCHEMA = "agentos_bus"


async def make_database(server: str) -> str:
    """Makes the database on the embedded server if it is missing; returns its address. Raises `PartError`."""
    try:
        connection = await asyncpg.connect(server)
        try:
            if not await connection.fetchval("select true from pg_database where datname = $1", DATABASE):
                await connection.execute(f"create database {DATABASE}")
        finally:
            await connection.close()
    except (OSError, asyncpg.PostgresError) as error:
        raise PartError(f"the database {DATABASE} could not be made: {error}") from error
    return urlunsplit(urlsplit(server)._replace(path="/" + DATABASE))


async def make_bus(database: str) -> None:
    """Makes the bus's tables. Raises the bus's errors."""
    bus = await PostgresBus.connect(database)
    await bus.close()


async def make_worker_role(database: str) -> str:
    """A role that reaches the bus and nothing else, on the embedded server, which asks no password.

    Returns the workers' address. Raises `PartError`.
    """
    try:
        connection = await asyncpg.connect(database)
        try:
            if not await connection.fetchval("select true from pg_roles where rolname = $1", WORKER_ROLE):
                await connection.execute(f"create role {WORKER_ROLE} login")
            await connection.execute(
                f"grant usage on schema {BUS_SCHEMA} to {WORKER_ROLE};"
                f"grant select, insert, update, delete on all tables in schema {BUS_SCHEMA} to {WORKER_ROLE};"
                f"grant usage on all sequences in schema {BUS_SCHEMA} to {WORKER_ROLE}"
            )
        finally:
            await connection.close()
    except (OSError, asyncpg.PostgresError) as error:
        raise PartError(f"the workers' role {WORKER_ROLE} could not be made: {error}") from error
    return urlunsplit(urlsplit(database)._replace(netloc=f"{WORKER_ROLE}:@"))
