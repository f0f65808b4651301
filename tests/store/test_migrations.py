from __future__ import annotations

import asyncio

import asyncpg
import psycopg2
import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import NullPool, create_engine

from core.errors import StoreUnavailable
from store import Store
from store.migrate import configuration, upgrade
from store.tables import metadata
from tests.fixtures.postgres import database_url
from tests.store.helpers import event, eyes

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


# What the first version of this program writes, of a task of one node.
OLDEST = """
with task as (
    insert into tasks (user_id, task_type, global_epoch, regional_epoch, task_description)
    values (0, 'chat.completion', 0, 0, '{}') returning task_id
), request as (
    insert into documents (doc_id, doc_type, doc_content, task_id)
    select nextval('documents_doc_id_seq'), 'request', '{}', task_id from task returning doc_id, task_id
), message as (
    insert into outbox (task_id, node_id, global_epoch, regional_epoch, topic, subscription, envelope, doc_id,
                        claimed_by, claimed_until)
    select task_id, '0', 0, 0, 't', 's', '{}', doc_id, 'old', now() from request
)
insert into progress (task_id, node_id, global_epoch, regional_epoch, result, event_id, doc_id)
select task_id, 'other', 0, 0, '{"outcome": "completed"}', 'e', doc_id from request
on conflict (task_id, node_id) do update set result = excluded.result returning task_id
"""


async def test_older_code_writes_before_an_upgrade_and_after_it(empty_database: str) -> None:
    config = configuration()
    engine = create_engine(
        "postgresql+psycopg2://", creator=lambda: psycopg2.connect(empty_database), poolclass=NullPool
    )
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
    written = [await _oldest(empty_database)]
    upgrade(empty_database)
    written.append(await _oldest(empty_database))
    store = await Store.connect(empty_database)
    assert [row.task_id for row in await store.claim_outbox("new", limit=9, lease_seconds=60)] == written
    assert [fate.graph for fate in await store.fold([event(task_id=task_id) for task_id in written])] == [
        False,
        False,
    ]
    assert await store.tasks() == []
    assert await store.claim_tasks("new", "here", limit=9) == []
    await store.close()


async def _oldest(url: str) -> int:
    async with eyes(url) as connection:
        return int(await connection.fetchval(OLDEST))
