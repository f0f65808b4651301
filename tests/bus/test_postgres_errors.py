"""Every exception of asyncpg and of the socket has a name of ours, and says nothing about content."""

from __future__ import annotations

import inspect

import asyncpg
import pytest

from bus.postgres import PostgresBus
from bus.postgres.errors import FOREIGN, classify, named
from core.errors import BusError, BusRefused, BusUnavailable, MessageRefused


@pytest.mark.parametrize(
    ("foreign", "ours"),
    [
        (ConnectionRefusedError(), BusUnavailable),
        (FileNotFoundError(), BusUnavailable),  # no socket: Postgres is down
        (TimeoutError(), BusUnavailable),
        (asyncpg.ConnectionDoesNotExistError("secret"), BusUnavailable),
        (asyncpg.InterfaceError("secret"), BusUnavailable),
        (asyncpg.InternalClientError("secret"), BusUnavailable),
        (asyncpg.CannotConnectNowError("secret"), BusUnavailable),
        (asyncpg.AdminShutdownError("secret"), BusUnavailable),
        (asyncpg.CrashShutdownError("secret"), BusUnavailable),
        (asyncpg.TooManyConnectionsError("secret"), BusUnavailable),
        (asyncpg.DiskFullError("secret"), BusUnavailable),
        (asyncpg.DeadlockDetectedError("secret"), BusUnavailable),
        (asyncpg.QueryCanceledError("secret"), BusUnavailable),
        (asyncpg.InvalidPasswordError("secret"), BusRefused),
        (asyncpg.InvalidCatalogNameError("secret"), BusRefused),
        (asyncpg.InsufficientPrivilegeError("secret"), BusRefused),
        (asyncpg.UndefinedTableError("secret"), BusRefused),
        (asyncpg.ClientConfigurationError("secret"), BusRefused),
        (asyncpg.CharacterNotInRepertoireError("secret"), MessageRefused),
        (asyncpg.ProgramLimitExceededError("secret"), MessageRefused),
        (asyncpg.exceptions._base.DataError("secret"), MessageRefused),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else value.__name__,
)
def test_an_error_of_postgres_gets_a_name_of_ours(foreign: Exception, ours: type[BusError]) -> None:
    with pytest.raises(ours) as caught, named():
        raise foreign
    assert type(caught.value) is ours
    assert "secret" not in str(caught.value)


def test_no_exception_of_asyncpg_escapes() -> None:
    exported = [each for _, each in inspect.getmembers(asyncpg.exceptions, inspect.isclass)]
    errors = [each for each in exported if issubclass(each, Exception) and not issubclass(each, Warning)]
    warnings = (asyncpg.PostgresWarning,)
    assert [each for each in errors if not issubclass(each, FOREIGN + warnings)] == []


async def test_a_server_that_is_not_there_is_unavailable() -> None:
    with pytest.raises(BusUnavailable):
        await PostgresBus.connect("postgresql://postgres@/postgres?host=/nonexistent")


async def test_a_database_that_is_not_there_is_refused(postgres_server: str) -> None:
    with pytest.raises(BusRefused):
        await PostgresBus.connect(postgres_server.replace("/postgres?", "/nonexistent?"))


async def test_an_address_that_is_none_is_refused() -> None:
    with pytest.raises(BusRefused):
        await PostgresBus.connect("mysql://localhost/db")


def test_what_is_unknown_is_held_to_be_passing() -> None:
    assert type(classify(asyncpg.PostgresError("secret"))) is BusUnavailable
