"""Publishing in time, on a server whose clock may differ from ours."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator

import pytest

from bus.port import Outgoing
from bus.postgres import PostgresBus, statements
from bus.postgres.pools import Pools
from bus.postgres.publisher import Press
from core.errors import BusUnavailable


@pytest.fixture
async def pools(empty_database: str) -> AsyncIterator[Pools]:
    bus = await PostgresBus.connect(empty_database)
    await bus.ensure_subscription("t", "s")
    await bus.close()
    pools = await Pools.open(empty_database)
    yield pools
    await pools.close()


async def count(pools: Pools) -> int:
    [row] = await pools.quick("select count(*) from agentos_bus.messages")
    return int(row[0])


@pytest.mark.parametrize("late", [False, True])
async def test_the_server_itself_takes_nothing_that_arrives_too_late(pools: Pools, *, late: bool) -> None:
    """As when it stood still with the statement already on its way."""
    leave_by = time.time() + (-1 if late else 60)
    columns = ["t"], [b"x"], ["{}"], [0.0], [None]
    [answer] = await pools.quick(statements.PUBLISH_AND_NOTIFY, *columns, leave_by, "")
    assert answer["late"] is late
    assert await count(pools) == (0 if late else 1)


@pytest.mark.parametrize("ahead", [-3600.0, 3600.0])
async def test_a_server_with_another_clock_is_published_to_in_time(
    pools: Pools, monkeypatch: pytest.MonkeyPatch, ahead: float
) -> None:
    ours = time.time
    monkeypatch.setattr(time, "time", lambda: ours() - ahead)
    press = Press(pools, durable=False)
    for _ in range(3):
        await press.publish("t", [Outgoing(b"x", leave_by=time.time() + 5)])
    with pytest.raises(BusUnavailable):
        await press.publish("t", [Outgoing(b"late", leave_by=time.time() - 5)])
    assert await count(pools) == 3
