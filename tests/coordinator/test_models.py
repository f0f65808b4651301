"""What the gateway knows of models."""

from __future__ import annotations

import asyncio

import asyncpg
import pytest

from bus import messages
from bus.messages import ModelNotice
from bus.port import Bus
from bus.topics import WORKERS_CHANNEL
from coordinator.models import Models
from store import Store

PATIENCE = 20.0


@pytest.fixture
def models(embedded_bus: Bus, store: Store) -> Models:
    return Models(embedded_bus, store, lambda model: None)


async def test_a_model_is_known_while_it_is_being_remembered(
    models: Models, embedded_bus: Bus, store_url: str
) -> None:
    listening = await models.start()
    await embedded_bus.send(WORKERS_CHANNEL, messages.encode(ModelNotice(model="m", node_type="remote")))
    async with asyncio.timeout(PATIENCE):
        while not await models.knows("m"):  # noqa: ASYNC110
            await asyncio.sleep(0.02)  # nothing tells that a frame was heard
    connection = await asyncpg.connect(store_url)
    async with connection.transaction():
        await connection.execute("lock table models in access exclusive mode")
        remembering = asyncio.create_task(models.all())
        await waits_for_the_lock(connection)
        async with asyncio.timeout(PATIENCE):
            assert await models.knows("m")
    [known] = await remembering
    assert (known.name, await models.knows("m")) == ("m", True)
    await listening.close()
    await connection.close()


async def waits_for_the_lock(connection: asyncpg.Connection) -> None:
    """Until another one of this database waits for a lock."""
    waiting = "select 1 from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()"
    async with asyncio.timeout(PATIENCE):
        while not await connection.fetchval(waiting):  # noqa: ASYNC110
            await asyncio.sleep(0.02)
