"""What every bus promises about messages whose consumers die."""

from __future__ import annotations

import asyncio
import json
import sys

import pytest

from bus.port import CRASHES_PROPERTY, Bus, Outgoing
from tests.bus.conftest import PATIENCE, Broker, Connect, holder, take


async def publish(bus: Bus, topic: str, *bodies: bytes) -> None:
    await (await bus.publisher(topic)).publish([Outgoing(body) for body in bodies])


async def die(broker: Broker, topic: str) -> int:
    """How many crashes the process saw that is killed by the next message."""
    arguments = ["-m", "tests.bus.die", json.dumps(broker.address), topic, "s"]
    process = await asyncio.create_subprocess_exec(sys.executable, *arguments, stdout=asyncio.subprocess.PIPE)
    try:
        async with asyncio.timeout(PATIENCE):
            output, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return int(output)


@pytest.mark.kills
async def test_a_message_that_kills_its_consumers_tells_how_many(
    connect: Connect, broker: Broker, topic: str
) -> None:
    bus = await connect()
    await bus.ensure_subscription(topic, "s")
    await publish(bus, topic, b"x")
    assert [await die(broker, topic) for _ in range(3)] == [0, 1, 2]
    consumer = await bus.subscribe(topic, "s", window=1)
    [delivery] = await take(consumer, 1)
    assert (delivery.crashes, delivery.attempt) == (3, 1)
    # A republication carries the count on.
    await consumer.nack(delivery, delay=0, reason="r")
    [again] = await take(consumer, 1)
    assert (again.crashes, again.attempt) == (3, 2)
    await consumer.give_back(again)
    [back] = await take(consumer, 1)
    assert (back.crashes, back.attempt) == (3, 2)
    await consumer.dead_letter(back, reason="it kills")
    [letter] = await take(await bus.subscribe(f"{topic}-s-DLQ", "dead-letters", window=1), 1)
    assert letter.properties[CRASHES_PROPERTY] == "3"


@pytest.mark.kills
async def test_all_that_a_dead_process_held_has_seen_one_crash(connect: Connect, broker: Broker, topic: str) -> None:
    bus = await connect()
    await bus.ensure_subscription(topic, "s")
    await publish(bus, topic, b"0", b"1", b"2")
    async with holder(broker, topic, "s", count=3):
        survivor = await bus.subscribe(topic, "s", window=10)
    await publish(bus, topic, b"3")
    crashes = {delivery.body: delivery.crashes for delivery in await take(survivor, 4)}
    assert crashes == {b"0": 1, b"1": 1, b"2": 1, b"3": 0}


@pytest.mark.parametrize("whole", [False, True], ids=["the subscription", "the bus"])
async def test_closing_in_good_order_is_no_crash(connect: Connect, topic: str, *, whole: bool) -> None:
    bus, other = await connect(), await connect()
    leaving = await bus.subscribe(topic, "s", window=3)
    await publish(bus, topic, b"0", b"1", b"2")
    await take(leaving, 3)
    staying = await other.subscribe(topic, "s", window=10)
    await (bus if whole else leaving).close()
    assert [delivery.crashes for delivery in await take(staying, 3)] == [0, 0, 0]
