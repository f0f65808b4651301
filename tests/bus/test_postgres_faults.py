"""Postgres and processes that die, stand still and come back."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest

from agentos.parts.postgres import EmbeddedPostgres
from bus.port import Outgoing
from bus.postgres import PostgresBus
from core.errors import BusUnavailable
from tests.bus.conftest import PATIENCE, Broker, holder, is_silent, take, until

pytestmark = pytest.mark.kills


class OwnServer:
    """A server that a test may crash."""

    def __init__(self, directory: Path) -> None:
        self._lock_file = directory / "postmaster.pid"
        self._server = EmbeddedPostgres(directory)
        self.url = self._server.start()

    async def crash(self) -> None:
        """An immediate shutdown: nothing is finished, the next start recovers from the log."""
        os.kill(self._server.pid, signal.SIGQUIT)
        async with asyncio.timeout(PATIENCE):
            while self._lock_file.exists():  # noqa: ASYNC110 - its end sends no event
                await asyncio.sleep(0.02)

    async def start(self) -> None:
        await asyncio.to_thread(self._server.start)

    def stop(self) -> None:
        self._server.stop()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[OwnServer]:
    own = OwnServer(tmp_path / "data")
    yield own
    own.stop()


async def publish(bus: PostgresBus, *bodies: bytes) -> None:
    await (await bus.publisher("t")).publish([Outgoing(body) for body in bodies])


async def flush(bus: PostgresBus) -> None:
    """A crash may undo the claims and acks of its last moment, but none from before something durable."""
    await bus.drop_blob(await bus.put_blob(b"x"))


async def is_unavailable(bus: PostgresBus) -> bool:
    try:
        await bus.check()
    except BusUnavailable:
        return True
    return False


async def is_available(bus: PostgresBus) -> bool:
    return not await is_unavailable(bus)


async def holds_one(bus: PostgresBus) -> bool:
    return (await bus.backlog("t", "s")).in_flight == 1


async def test_everything_goes_on_after_a_crash_of_the_server(server: OwnServer) -> None:
    bus = await PostgresBus.connect(server.url)
    heard: list[bytes] = []
    await bus.listen("c", heard.append)
    consumer = await bus.subscribe("t", "s", window=10)
    await publish(bus, b"before", b"held")
    held = await take(consumer, 2)
    await flush(bus)
    receiving = asyncio.create_task(take(consumer, 1))
    await server.crash()
    with pytest.raises(BusUnavailable):
        await publish(bus, b"lost")
    with pytest.raises(BusUnavailable):
        await bus.send("c", b"lost")
    acking = asyncio.create_task(consumer.ack(held))
    await server.start()
    await until(lambda: is_available(bus))
    await asyncio.wait_for(acking, PATIENCE)
    await publish(bus, b"after")
    assert [delivery.body for delivery in await receiving] == [b"after"]
    await until(lambda: sends_and_hears(bus, heard))
    await until(lambda: holds_one(bus))  # acks are gathered
    await bus.close()


async def sends_and_hears(bus: PostgresBus, heard: list[bytes]) -> bool:
    await bus.send("c", b"{}")
    return b"{}" in heard


async def test_a_restart_of_the_server_takes_no_message_from_its_holder(server: OwnServer) -> None:
    """All locks are gone after a restart, and all consumers still alive: those of this process, and one that
    takes its time to come back."""
    bus = await PostgresBus.connect(server.url)
    await bus.ensure_subscription("t", "s")
    await publish(bus, b"1", b"2", b"3")
    async with holder(Broker({"bus_url": server.url}), "t", "s", count=3) as process:
        await flush(bus)
        process.send_signal(signal.SIGSTOP)
        await server.crash()
        await server.start()
        await until(lambda: is_available(bus))
        other = await bus.subscribe("t", "s", window=10)
        assert await is_silent(other, 3.0)
        process.send_signal(signal.SIGCONT)
        await until(lambda: all_have_joined_since_the_restart(server))
        process.kill()
        assert len(await take(other, 3)) == 3
    await bus.close()


async def all_have_joined_since_the_restart(server: OwnServer) -> bool:
    connection = await asyncpg.connect(server.url)
    joined = await connection.fetchval(
        "select bool_and(joined_at > pg_postmaster_start_time()) from agentos_bus.consumers"
    )
    await connection.close()
    return bool(joined)


async def test_messages_of_a_process_that_stands_still_go_to_others_and_stay_theirs(empty_database: str) -> None:
    bus = await PostgresBus.connect(empty_database)
    await bus.ensure_subscription("t", "s")
    await publish(bus, b"1")
    async with holder(Broker({"bus_url": empty_database}), "t", "s", count=1) as process:
        process.send_signal(signal.SIGSTOP)
        stopped = time.monotonic()
        consumer = await bus.subscribe("t", "s", window=10)
        [delivery] = await take(consumer, 1)
        assert 5 < time.monotonic() - stopped < 15
        process.send_signal(signal.SIGCONT)
        await publish(bus, *(b"%d" % number for number in range(30)))
        # It joins again as a new consumer, and takes its share.
        async with asyncio.timeout(PATIENCE):
            assert process.stdout is not None
            assert await process.stdout.readline() == b"held\n"
        assert (await bus.backlog("t", "s")).in_flight >= 2
        await consumer.ack([delivery])
    await bus.close()


async def test_a_former_holder_changes_nothing_for_the_new_one(empty_database: str) -> None:
    first, second = await PostgresBus.connect(empty_database), await PostgresBus.connect(empty_database)
    owner = await asyncpg.connect(empty_database)
    former = await first.subscribe("t", "s", window=3)
    await publish(first, b"1", b"2", b"3")
    stale = await take(former, 3)
    consumer = await second.subscribe("t", "s", window=3)
    # As if the lease of `former` had been found expired.
    await owner.execute("delete from agentos_bus.consumers where id = $1", former.consumer_id)
    await owner.execute("update agentos_bus.messages set consumer_id = null")
    held = await take(consumer, 3)
    await former.ack(stale[:1])
    await former.nack(stale[1], delay=0, reason="r")
    await former.dead_letter(stale[2], reason="r")
    await former.close()
    assert (await second.backlog("t", "s")).in_flight == 3
    await consumer.ack(held)
    await consumer.close()
    assert (await second.backlog("t", "s")).in_flight == 0
    for connection in (first, second, owner):
        await connection.close()


async def test_a_lost_connection_comes_back_under_the_same_consumer(empty_database: str) -> None:
    bus = await PostgresBus.connect(empty_database)
    owner = await asyncpg.connect(empty_database)
    consumer = await bus.subscribe("t", "s", window=1)
    await publish(bus, b"1", b"2")
    held = await take(consumer, 1)
    before = consumer.consumer_id
    await owner.execute(
        "select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> $1",
        owner.get_server_pid(),
    )
    await consumer.ack(held)
    assert [delivery.body for delivery in await take(consumer, 1)] == [b"2"]
    assert consumer.consumer_id == before
    await until(lambda: is_available(bus))
    await bus.close()
    await owner.close()


async def test_a_bus_can_be_closed_while_the_server_is_away(server: OwnServer) -> None:
    bus = await PostgresBus.connect(server.url)
    consumer = await bus.subscribe("t", "s", window=1)
    await publish(bus, b"1")
    await take(consumer, 1)
    await server.crash()
    await until(lambda: is_unavailable(bus))
    async with asyncio.timeout(PATIENCE):
        await bus.close()
    await server.start()
    again = await PostgresBus.connect(server.url)
    assert [delivery.body for delivery in await take(await again.subscribe("t", "s", window=1), 1)] == [b"1"]
    await again.close()


async def restarted(server: OwnServer, bus: PostgresBus) -> None:
    await server.crash()
    await server.start()
    await until(lambda: is_available(bus))


async def messages(owner: asyncpg.Connection) -> list[asyncpg.Record]:
    return list(await owner.fetch("select id, consumer_id from agentos_bus.messages order by id"))


async def test_acks_that_a_crash_has_undone_are_made_again(server: OwnServer) -> None:
    bus = await PostgresBus.connect(server.url)
    consumer = await bus.subscribe("t", "s", window=2)
    await publish(bus, b"0", b"1")
    await consumer.ack(await take(consumer, 2))
    await publish(bus, b"2")
    [held] = await take(consumer, 1)
    owner = await asyncpg.connect(server.url)
    await until(lambda: only(owner, held.handle.message_id))
    # As if the crash had undone the ack of the one, and the ack and the claim of the other.
    put_back = (
        "insert into agentos_bus.messages (id, subscription_id, consumer_id, properties, body)"
        " overriding system value select $1, id, $2, '{}', '' from agentos_bus.subscriptions"
    )
    consumer.allow(0)
    await owner.execute(put_back, held.handle.message_id - 1, consumer.consumer_id)
    await owner.execute(put_back, held.handle.message_id - 2, None)
    await owner.close()
    await restarted(server, bus)
    owner = await asyncpg.connect(server.url)
    await until(lambda: only(owner, held.handle.message_id))
    consumer.allow(2)
    assert await is_silent(consumer)
    await owner.close()
    await bus.close()


async def only(owner: asyncpg.Connection, message_id: int) -> bool:
    return [row["id"] for row in await messages(owner)] == [message_id]


async def test_claims_that_a_crash_has_undone_are_made_again(server: OwnServer) -> None:
    bus, other = [await PostgresBus.connect(server.url) for _ in range(2)]
    consumer = await bus.subscribe("t", "s", window=1)
    await publish(bus, b"x")
    [held] = await take(consumer, 1)
    owner = await asyncpg.connect(server.url)
    await owner.execute("update agentos_bus.messages set consumer_id = null")
    await owner.close()
    await restarted(server, bus)
    owner = await asyncpg.connect(server.url)
    await until(lambda: held_by(owner, consumer.consumer_id))
    assert await is_silent(await other.subscribe("t", "s", window=1))
    await consumer.ack([held])
    assert await is_silent(consumer)
    await owner.close()
    await other.close()
    await bus.close()


async def held_by(owner: asyncpg.Connection, consumer: int) -> bool:
    return [row["consumer_id"] for row in await messages(owner)] == [consumer]


async def test_what_the_server_thinks_is_held_and_is_not_is_delivered_again(server: OwnServer) -> None:
    """A crash has undone its return; or the answer to its claim was lost."""
    bus = await PostgresBus.connect(server.url)
    consumer = await bus.subscribe("t", "s", window=2)
    await publish(bus, b"0")
    [held] = await take(consumer, 1)
    owner = await asyncpg.connect(server.url)
    await owner.execute(
        "insert into agentos_bus.messages (subscription_id, consumer_id, properties, body)"
        " select id, $1, '{}', '1' from agentos_bus.subscriptions",
        consumer.consumer_id,
    )
    await owner.close()
    assert await is_silent(consumer)
    await restarted(server, bus)
    [lost] = await take(consumer, 1)
    assert (held.body, lost.body) == (b"0", b"1")
    await bus.close()
