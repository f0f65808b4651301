"""What every bus promises about blobs, and about its own end."""

from __future__ import annotations

import asyncio
import os

import pytest

from bus.port import Bus, Outgoing
from core.errors import BlobMissing, BusClosed
from tests.bus.conftest import Connect, is_silent, take


async def test_a_blob_is_there_for_everybody_until_it_is_dropped(connect: Connect) -> None:
    bus, other = await connect(), await connect()
    data = os.urandom(12 << 20)
    reference = await bus.put_blob(data)
    assert await other.get_blob(reference) == data
    assert await bus.get_blob(reference) == data
    await other.drop_blob(reference)
    with pytest.raises(BlobMissing):
        await bus.get_blob(reference)
    await bus.drop_blob(reference)


async def test_an_empty_blob_is_a_blob(bus: Bus) -> None:
    assert await bus.get_blob(await bus.put_blob(b"")) == b""


async def test_an_open_bus_answers_a_check(bus: Bus) -> None:
    await bus.check()


async def test_everything_may_be_closed_twice_and_in_any_order(connect: Connect, topic: str) -> None:
    bus = await connect()
    parts = [
        await bus.subscribe(topic, "s", window=1),
        await bus.listen(topic, lambda _: None),
        await bus.publisher(topic),
    ]
    for part in parts[:2]:
        await part.close()
        await part.close()
    await bus.close()
    for part in parts:
        await part.close()
    await bus.close()


async def test_a_closed_bus_says_so(connect: Connect, topic: str) -> None:
    bus = await connect()
    publisher = await bus.publisher(topic)
    await bus.close()
    for action in (
        publisher.publish([Outgoing(b"x")]),
        bus.publisher(topic),
        bus.subscribe(topic, "s", window=1),
        bus.ensure_subscription(topic, "s"),
        bus.backlog(topic, "s"),
        bus.send(topic, b"{}"),
        bus.listen(topic, lambda _: None),
        bus.put_blob(b"x"),
        bus.get_blob("x"),
        bus.drop_blob("x"),
        bus.check(),
    ):
        with pytest.raises(BusClosed):
            await action


async def test_a_closed_subscription_says_so(bus: Bus, topic: str) -> None:
    consumer = await bus.subscribe(topic, "s", window=1)
    await (await bus.publisher(topic)).publish([Outgoing(b"x")])
    [delivery] = await take(consumer, 1)
    await consumer.close()
    for action in (
        consumer.receive(),
        consumer.ack([delivery]),
        consumer.nack(delivery, delay=0, reason="r"),
        consumer.dead_letter(delivery, reason="r"),
        consumer.give_back(delivery),
    ):
        with pytest.raises(BusClosed):
            await action


async def test_closing_ends_a_receive_that_waits(bus: Bus, topic: str) -> None:
    consumer = await bus.subscribe(topic, "s", window=1)
    waiting = asyncio.create_task(consumer.receive())
    await asyncio.sleep(0)
    await consumer.close()
    with pytest.raises(BusClosed):
        await waiting


async def test_a_closed_publisher_says_so_and_the_next_one_works(bus: Bus, topic: str) -> None:
    publisher = await bus.publisher(topic)
    await publisher.close()
    with pytest.raises(BusClosed):
        await publisher.publish([Outgoing(b"x")])
    await (await bus.publisher(topic)).publish([Outgoing(b"x")])


async def test_a_paused_consumer_settles_what_it_has_and_gives_the_rest_to_others(
    connect: Connect, topic: str
) -> None:
    leaving, staying = await connect(), await connect()
    paused = await leaving.subscribe(topic, "s", window=3)
    await (await leaving.publisher(topic)).publish([Outgoing(b"%d" % number) for number in range(2)])
    [held, *rest] = await take(paused, 1)
    await paused.pause()
    other = await staying.subscribe(topic, "s", window=10)
    await (await staying.publisher(topic)).publish([Outgoing(b"later")])
    bodies = {delivery.body for delivery in await take(other, 2 - len(rest))}
    assert b"later" in bodies
    assert held.body not in bodies
    await paused.ack([held, *rest])
    await paused.close()
    assert await is_silent(other)
