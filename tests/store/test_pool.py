from __future__ import annotations

import asyncio
from pathlib import Path

import asyncpg
import pytest

from agentos.parts.postgres import EmbeddedPostgres
from core.errors import ConfigurationError, StoreError, StoreUnavailable
from store import Store
from store.migrate import upgrade
from store.pool import named
from tests.fixtures.postgres import database_url
from tests.store.helpers import SUBMISSION, eyes


@pytest.mark.parametrize("where", ["postgresql://a@127.0.0.1:1/a", "postgresql://a@/a?host=/there/is/none"])
async def test_where_no_server_listens_the_store_is_unavailable(where: str) -> None:
    with pytest.raises(StoreUnavailable):
        await Store.connect(where)


async def test_a_wrong_database_or_user_is_for_a_person_to_mend(postgres_server: str) -> None:
    for wrong in (
        database_url(postgres_server, "there_is_none"),
        postgres_server.replace("postgres:@", "nobody:@"),
        "not an address",
    ):
        with pytest.raises(ConfigurationError):
            await Store.connect(wrong)


async def test_a_connection_that_was_ended_is_replaced(store_url: str) -> None:
    store = await Store.connect(store_url, pool_size=1)
    async with eyes(store_url) as connection:
        await connection.execute(
            "select pg_terminate_backend(pid, 10000) from pg_stat_activity "
            "where datname = current_database() and pid <> pg_backend_pid()"
        )
    await store.check()
    assert len(await store.submit([SUBMISSION])) == 1
    await store.close()


async def test_a_connection_ended_in_mid_statement_is_unavailable_once(store_url: str) -> None:
    store = await Store.connect(store_url, pool_size=1)
    async with eyes(store_url) as connection:
        await connection.execute("begin; lock table documents in access exclusive mode")
        reading = asyncio.create_task(store.get_document(1))
        query = "select pg_terminate_backend(pid, 10000) from pg_locks where not granted"
        async with asyncio.timeout(20):
            while await connection.fetchval(query) is None:  # noqa: ASYNC110 - no event tells of it
                await asyncio.sleep(0.005)
        with pytest.raises(StoreUnavailable):
            await reading
    await store.check()
    await store.close()


async def test_a_store_outlives_its_server(tmp_path: Path) -> None:
    server = EmbeddedPostgres(tmp_path / "data")
    url = server.start()
    try:
        upgrade(url)
        store = await Store.connect(url, pool_size=2)
        await asyncio.gather(*(store.check() for _ in range(2)))
        server.stop()
        for _ in range(2):
            with pytest.raises(StoreUnavailable):
                await store.submit([SUBMISSION])
        assert server.start() == url
        assert len(await store.submit([SUBMISSION])) == 1
        await store.close()
    finally:
        server.stop()


async def test_a_cancelled_call_gives_its_connection_back(store_url: str) -> None:
    store = await Store.connect(store_url, pool_size=1)
    async with eyes(store_url) as connection:
        await connection.execute("begin; lock table tasks in access exclusive mode")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(store.submit([SUBMISSION]), 0.2)
    async with asyncio.timeout(20):
        assert len(await store.submit([SUBMISSION])) == 1
    await store.close()


async def test_a_second_close_does_nothing(store_url: str) -> None:
    store = await Store.connect(store_url)
    await store.close()
    await store.close()


def exported() -> list[type[asyncpg.PostgresError]]:
    kinds = (getattr(asyncpg, name) for name in dir(asyncpg))
    return [kind for kind in kinds if isinstance(kind, type) and issubclass(kind, asyncpg.PostgresError)]


def test_every_error_of_postgres_has_a_name_of_ours() -> None:
    names = {kind.__name__: type(named(kind("secret"))) for kind in exported()}
    for lost in (
        "ConnectionDoesNotExistError", "ConnectionFailureError", "CannotConnectNowError", "AdminShutdownError",
        "CrashShutdownError", "TooManyConnectionsError", "OutOfMemoryError", "DeadlockDetectedError",
        "SerializationError", "ReadOnlySQLTransactionError", "DiskFullError",
    ):  # fmt: skip
        assert names.pop(lost) is StoreUnavailable, lost
    for wrong in ("InvalidPasswordError", "InvalidAuthorizationSpecificationError", "InvalidCatalogNameError"):
        assert names.pop(wrong) is ConfigurationError, wrong
    for refused in ("UniqueViolationError", "CheckViolationError", "DataError", "UndefinedTableError"):
        assert names.pop(refused) is StoreError, refused
    assert "secret" not in str(named(asyncpg.DataError("secret")))
