"""What every bus promises on the way from publish to receive."""

from __future__ import annotations

import asyncio
import time

import pytest

from bus.port import Bus, Outgoing
from core.errors import MessageRefused
from tests.bus.conftest import Connect, is_silent, take


def numbered(count: int) -> list[Outgoing]:
    return [Outgoing(str(number).encode()) for number in range(count)]


async def publish(bus: Bus, topic: str, *messages: Outgoing) -> None:
    await (await bus.publisher(topic)).publish(messages)


async def test_messages_spread_over_the_consumers_and_each_goes_to_one(connect: Connect, topic: str) -> None:
    consumers = [await (await connect()).subscribe(topic, "s", window=5) for _ in range(2)]
    await publish(await connect(), topic, *numbered(10))
    taken = await asyncio.gather(*(take(consumer, 5) for consumer in consumers))
    assert [len(each) for each in taken] == [5, 5]
    assert {delivery.body for each in taken for delivery in each} == {message.body for message in numbered(10)}


async def test_one_consumer_takes_messages_in_the_order_of_publication(bus: Bus, topic: str) -> None:
    consumer = await bus.subscribe(topic, "s", window=100, prefetch=10)
    await publish(bus, topic, *numbered(50))
    await publish(bus, topic, *(Outgoing(b"later %d" % number) for number in range(50)))
    taken = await take(consumer, 100)
    assert [delivery.body for delivery in taken[:50]] == [message.body for message in numbered(50)]
    assert [delivery.body for delivery in taken[50:]] == [b"later %d" % number for number in range(50)]


async def test_the_window_is_kept_and_a_busy_consumer_holds_back_nothing(connect: Connect, topic: str) -> None:
    busy = await (await connect()).subscribe(topic, "s", window=2)
    await publish(await connect(), topic, *numbered(10))
    held = await take(busy, 2)
    assert len(held) == 2
    assert await is_silent(busy)
    free = await (await connect()).subscribe(topic, "s", window=100)
    assert len(await take(free, 8)) == 8


async def test_a_settled_delivery_makes_room_for_the_next(bus: Bus, topic: str) -> None:
    consumer = await bus.subscribe(topic, "s", window=1)
    await publish(bus, topic, *numbered(3))
    bodies = []
    for _ in range(3):
        [delivery] = await take(consumer, 1)
        bodies.append(delivery.body)
        await consumer.ack([delivery])
    assert bodies == [b"0", b"1", b"2"]


async def test_a_consumer_takes_as_many_as_it_is_allowed(bus: Bus, topic: str) -> None:
    consumer = await bus.subscribe(topic, "s", window=3)
    await publish(bus, topic, *numbered(10))
    held = await take(consumer, 3)
    consumer.allow(1)
    await consumer.ack(held[:2])
    assert await is_silent(consumer)
    await consumer.ack(held[2:])
    assert len(await take(consumer, 1)) == 1
    consumer.allow(3)
    assert len(await take(consumer, 2)) == 2
    assert await is_silent(consumer)


async def test_a_consumer_that_is_allowed_nothing_leaves_all_to_others(connect: Connect, topic: str) -> None:
    bus = await connect()
    shut = await bus.subscribe(topic, "s", window=5)
    shut.allow(0)
    other = await (await connect()).subscribe(topic, "s", window=3)
    await publish(bus, topic, *numbered(10))
    assert len(await take(other, 3)) == 3
    assert await is_silent(shut)
    shut.allow(2)
    assert len(await take(shut, 2)) == 2
    assert await is_silent(shut)


async def test_a_message_published_before_there_is_a_consumer_waits_for_it(connect: Connect, topic: str) -> None:
    bus = await connect()
    await bus.ensure_subscription(topic, "s")
    await bus.ensure_subscription(topic, "s")
    await publish(bus, topic, *numbered(3))
    consumer = await (await connect()).subscribe(topic, "s", window=10)
    assert [delivery.body for delivery in await take(consumer, 3)] == [b"0", b"1", b"2"]


async def test_every_subscription_gets_every_message_and_settles_on_its_own(bus: Bus, topic: str) -> None:
    first = await bus.subscribe(topic, "first", window=10)
    second = await bus.subscribe(topic, "second", window=10)
    await publish(bus, topic, *numbered(3))
    await first.ack(await take(first, 3))
    assert [delivery.body for delivery in await take(second, 3)] == [b"0", b"1", b"2"]


async def test_a_message_is_delivered_no_earlier_than_its_delay(bus: Bus, topic: str) -> None:
    consumer = await bus.subscribe(topic, "s", window=10)
    published = time.monotonic()
    await publish(bus, topic, Outgoing(b"late", deliver_after=1.5), Outgoing(b"now"))
    [now] = await take(consumer, 1)
    assert now.body == b"now"
    [late] = await take(consumer, 1)
    assert (late.body, late.attempt) == (b"late", 1)
    assert time.monotonic() - published >= 1.5


@pytest.mark.parametrize(
    "body",
    [b"", bytes(range(256)), b"\0" * 10, bytes(range(256)) * 4000],
    ids=["empty", "every byte", "zero bytes", "a mebibyte"],
)
async def test_bodies_arrive_byte_for_byte(bus: Bus, topic: str, body: bytes) -> None:
    consumer = await bus.subscribe(topic, "s", window=1)
    await publish(bus, topic, Outgoing(body))
    [delivery] = await take(consumer, 1)
    assert delivery.body == body
    assert delivery.topic == topic


async def test_properties_arrive_as_they_left(bus: Bus, topic: str) -> None:
    consumer = await bus.subscribe(topic, "s", window=1)
    properties = {"a": "", "ключ": "значение", 'with "quotes"': "line\nline", "zero": "\0"}
    await publish(bus, topic, Outgoing(b"x", properties))
    [delivery] = await take(consumer, 1)
    assert delivery.properties == properties


async def test_thousands_published_at_once_arrive_each_once(bus: Bus, topic: str) -> None:
    consumer = await bus.subscribe(topic, "s", window=5000, prefetch=500)
    await publish(bus, topic, *numbered(5000))
    taken = await take(consumer, 5000)
    assert sorted(int(delivery.body) for delivery in taken) == list(range(5000))
    assert await is_silent(consumer)


async def test_a_message_too_large_is_refused_and_the_next_is_taken(bus: Bus, topic: str) -> None:
    consumer = await bus.subscribe(topic, "s", window=1)
    with pytest.raises(MessageRefused):
        await publish(bus, topic, Outgoing(bytes(6 << 20)))
    await publish(bus, topic, Outgoing(b"small"))
    assert [delivery.body for delivery in await take(consumer, 1)] == [b"small"]


async def test_cancelling_a_receive_that_waits_loses_no_message(bus: Bus, topic: str) -> None:
    consumer = await bus.subscribe(topic, "s", window=100)
    taken: list[bytes] = []
    for message in numbered(20):
        waiting = asyncio.create_task(consumer.receive())
        await asyncio.sleep(0)
        # At one moment and another of the message's way: before it leaves, and while it comes.
        publishing = asyncio.create_task(publish(bus, topic, message))
        await asyncio.sleep(0.002 * (int(message.body) % 5))
        waiting.cancel()
        done = (await asyncio.gather(waiting, return_exceptions=True))[0]
        taken += [] if isinstance(done, BaseException) else [delivery.body for delivery in done]
        await publishing
    if len(taken) < 20:
        taken += [delivery.body for delivery in await take(consumer, 20 - len(taken))]
    assert sorted(taken, key=int) == [message.body for message in numbered(20)]
