from __future__ import annotations

import asyncio

import asyncpg
import psycopg2
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import NullPool, create_engine

from core.errors import StoreUnavailable
from store import Store
from store.migrate import upgrade
from store.tables import metadata
from tests.fixtures.postgres import database_url

CHECKS = """
select conrelid::regclass::text, conname, pg_get_constraintdef(oid) from pg_constraint
where contype in ('c', 'f', 'p', 'u') and connamespace = 'public'::regnamespace order by 1, 2
"""


async def test_the_schema_is_the_sum_of_its_migrations(store_url: str) -> None:
    engine = create_engine("postgresql+psycopg2://", creator=lambda: psycopg2.connect(store_url), poolclass=NullPool)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        assert compare_metadata(context, metadata) == []


async def test_constraints_are_those_of_the_tables(empty_database: str, store_url: str) -> None:
    """Alembic's comparison does not look at checks."""
    url = empty_database
    engine = create_engine("postgresql+psycopg2://", creator=lambda: psycopg2.connect(url), poolclass=NullPool)
    metadata.create_all(engine)
    made, migrated = await _constraints(url), await _constraints(store_url)
    assert [row for row in migrated if row[0] != "alembic_version"] == made


async def _constraints(url: str) -> list[tuple[str, str, str]]:
    connection = await asyncpg.connect(url)
    try:
        return [tuple(row) for row in await connection.fetch(CHECKS)]
    finally:
        await connection.close()


async def test_an_upgrade_keeps_what_is_there_and_a_second_does_nothing(empty_database: str) -> None:
    upgrade(empty_database)
    store = await Store.connect(empty_database)
    doc_id = await store.store_document("request", "kept")
    upgrade(empty_database)
    assert await store.get_document(doc_id) == "kept"
    await store.close()


async def test_two_upgrades_at_once_both_succeed(empty_database: str) -> None:
    await asyncio.gather(*(asyncio.to_thread(upgrade, empty_database) for _ in range(2)))
    store = await Store.connect(empty_database)
    await store.close()


async def test_an_upgrade_says_why_it_cannot_connect(postgres_server: str) -> None:
    with pytest.raises(StoreUnavailable, match='database "there_is_none" does not exist'):
        upgrade(database_url(postgres_server, "there_is_none"))
    with pytest.raises(StoreUnavailable, match=r"127\.0\.0\.1"):
        upgrade("postgresql://nobody@127.0.0.1:1/none")
