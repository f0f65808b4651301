"""The bus's own schema: who may make it, and who may use it."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator

import asyncpg
import pytest

from bus.port import Backlog, Outgoing
from bus.postgres import PostgresBus
from core.errors import BusRefused
from tests.bus.conftest import take


@pytest.fixture
async def role(empty_database: str) -> AsyncIterator[tuple[str, asyncpg.Connection]]:
    """The address of a role without any rights, and a connection of the database's owner."""
    name = "r" + uuid.uuid4().hex
    owner = await asyncpg.connect(empty_database)
    await owner.execute(f"create role {name} login")
    await owner.execute("revoke all on schema public from public")
    yield empty_database.replace("//postgres", f"//{name}"), owner
    await owner.execute(f"drop owned by {name} cascade")
    await owner.execute(f"drop role {name}")
    await owner.close()


async def test_many_who_connect_at_once_make_one_schema(empty_database: str) -> None:
    buses = await asyncio.gather(*(PostgresBus.connect(empty_database) for _ in range(5)))
    for bus in buses:
        assert await bus.backlog("t", "s") == Backlog(0, 0, 0)
        await bus.close()


async def test_tables_of_an_earlier_version_are_brought_up_to_date_with_what_is_in_them(empty_database: str) -> None:
    bus = await PostgresBus.connect(empty_database)
    await bus.ensure_subscription("t", "s")
    await (await bus.publisher("t")).publish([Outgoing(b"x")])
    await bus.close()
    owner = await asyncpg.connect(empty_database)
    later = ("crashes", "published_at", "key")
    await owner.execute("alter table agentos_bus.messages " + ", ".join(f"drop column {name}" for name in later))
    await owner.close()
    for bus in await asyncio.gather(*(PostgresBus.connect(empty_database) for _ in range(3))):
        await bus.close()
    again = await PostgresBus.connect(empty_database)
    [delivery] = await take(await again.subscribe("t", "s", window=1), 1)
    assert (delivery.body, delivery.crashes) == (b"x", 0)
    await again.close()


async def test_rights_on_the_schema_alone_are_enough(
    role: tuple[str, asyncpg.Connection], empty_database: str
) -> None:
    url, owner = role
    await (await PostgresBus.connect(empty_database)).close()
    name = url.split("//")[1].split(":")[0].split("@")[0]
    await owner.execute(f"grant usage on schema agentos_bus to {name}")
    await owner.execute(f"grant select, insert, update, delete on all tables in schema agentos_bus to {name}")
    bus = await PostgresBus.connect(url)
    consumer = await bus.subscribe("t", "s", window=1)
    await (await bus.publisher("t")).publish([Outgoing(b"x")])
    [delivery] = await take(consumer, 1)
    await consumer.dead_letter(delivery, reason="r")
    await bus.send("c", b"x" * 100_000)
    await bus.drop_blob(await bus.put_blob(b"x"))
    await bus.close()


async def test_a_role_without_rights_is_refused(role: tuple[str, asyncpg.Connection]) -> None:
    with pytest.raises(BusRefused):
        await PostgresBus.connect(role[0])


async def test_every_statement_goes_by_an_index(empty_database: str) -> None:
    """Statistics of a queue are always wrong, so the plan must not depend on them: also for an empty table."""
    from bus.postgres import statements
    from bus.postgres.pools import PLANNING

    await (await PostgresBus.connect(empty_database)).close()
    connection = await asyncpg.connect(empty_database, server_settings=PLANNING)
    await connection.execute("set plan_cache_mode = force_generic_plan")
    for name in ("CLAIM", "RIPEN", "ACK", "NACK", "DEAD_LETTER", "RECONCILE", "PUBLISHED", "BACKLOG"):
        statement = getattr(statements, name)
        await connection.execute(f"prepare p_{name} as {statement}")
        arguments = ", ".join(["null"] * max(int(part[0]) for part in statement.split("$")[1:]))
        plan = "\n".join(row[0] for row in await connection.fetch(f"explain execute p_{name} ({arguments})"))
        assert "Seq Scan on messages" not in plan, plan
    await connection.close()
