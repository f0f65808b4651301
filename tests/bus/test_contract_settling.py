"""What every bus promises about acks, nacks, dead letters, and consumers that go away."""

from __future__ import annotations

import asyncio
import time

import pytest

from bus.port import (
    ATTEMPT_PROPERTY,
    CRASHES_PROPERTY,
    DEAD_LETTER_SUBSCRIPTION,
    PUBLISHED_PROPERTY,
    REASON_PROPERTY,
    Backlog,
    Bus,
    Delivery,
    Outgoing,
    Subscription,
    dead_letter_topic,
)
from tests.bus.conftest import Broker, Connect, holder, is_silent, take, until_backlog


async def publish(bus: Bus, topic: str, *bodies: bytes) -> None:
    await (await bus.publisher(topic)).publish([Outgoing(body, {"kept": "yes"}) for body in bodies])


async def one(subscription: Subscription) -> Delivery:
    [delivery] = await take(subscription, 1)
    return delivery


async def dead_letters(bus: Bus, topic: str) -> Subscription:
    return await bus.subscribe(dead_letter_topic(topic, "s"), DEAD_LETTER_SUBSCRIPTION, window=10)


async def test_what_is_acked_does_not_come_back(connect: Connect, topic: str) -> None:
    bus = await connect()
    consumer = await bus.subscribe(topic, "s", window=10)
    await publish(bus, topic, b"0", b"1", b"2")
    await consumer.ack(await take(consumer, 3))
    await consumer.close()
    assert await is_silent(await (await connect()).subscribe(topic, "s", window=10))


async def test_settling_twice_is_no_error_and_changes_nothing(bus: Bus, topic: str) -> None:
    consumer = await bus.subscribe(topic, "s", window=2)
    await publish(bus, topic, b"0")
    delivery = await one(consumer)
    await consumer.ack([delivery])
    await consumer.ack([delivery])
    await consumer.nack(delivery, delay=0, reason="late")
    await consumer.dead_letter(delivery, reason="later")
    assert await is_silent(consumer)
    assert await is_silent(await dead_letters(bus, topic))


async def test_what_is_unsettled_goes_to_others_at_once_when_its_consumer_closes(
    connect: Connect, topic: str
) -> None:
    bus = await connect()
    leaving = await bus.subscribe(topic, "s", window=3)
    await publish(bus, topic, b"0", b"1", b"2")
    held = await take(leaving, 3)
    staying = await (await connect()).subscribe(topic, "s", window=10)
    await leaving.ack(held[:1])
    closed = time.monotonic()
    await leaving.close()
    assert {delivery.body for delivery in await take(staying, 2)} == {b"1", b"2"}
    assert time.monotonic() - closed < 2


async def test_a_nack_delivers_again_after_its_delay_and_counts(bus: Bus, topic: str) -> None:
    consumer = await bus.subscribe(topic, "s", window=10)
    await publish(bus, topic, b"x")
    first = await one(consumer)
    nacked = time.monotonic()
    await consumer.nack(first, delay=1.5, reason="not now")
    second = await one(consumer)
    assert time.monotonic() - nacked >= 1.5
    assert (first.attempt, second.attempt, second.body) == (1, 2, b"x")
    assert abs(second.published_at - first.published_at) < 0.001
    assert second.properties["kept"] == "yes"


async def test_a_nack_that_does_not_count_leaves_the_attempts_as_they_are(bus: Bus, topic: str) -> None:
    subscription = await bus.subscribe(topic, "s", window=1, max_attempts=1)
    await (await bus.publisher(topic)).publish([Outgoing(b"x")])
    for _ in range(3):
        (delivery,) = await subscription.receive()
        assert delivery.attempt == 1
        await subscription.nack(delivery, delay=0.1, reason="not now", counted=False)


async def test_a_nack_without_delay_delivers_again_at_once(bus: Bus, topic: str) -> None:
    consumer = await bus.subscribe(topic, "s", window=1)
    await publish(bus, topic, b"x")
    nacked = time.monotonic()
    await consumer.nack(await one(consumer), delay=0, reason="not here")
    again = await one(consumer)
    assert (again.body, again.attempt) == (b"x", 2)
    assert time.monotonic() - nacked < 1


async def test_the_last_nack_moves_the_message_to_the_dead_letters_with_its_reason(bus: Bus, topic: str) -> None:
    consumer = await bus.subscribe(topic, "s", window=10, max_attempts=3)
    await publish(bus, topic, b"x")
    for attempt in (1, 2, 3):
        delivery = await one(consumer)
        assert delivery.attempt == attempt
        await consumer.nack(delivery, delay=0, reason=f"failure {attempt}")
    letter = await one(await dead_letters(bus, topic))
    assert letter.body == b"x"
    assert letter.properties["kept"] == "yes"
    assert letter.properties[REASON_PROPERTY] == "failure 3"
    assert (letter.properties[ATTEMPT_PROPERTY], letter.properties[CRASHES_PROPERTY]) == ("3", "0")
    assert PUBLISHED_PROPERTY not in letter.properties
    assert await is_silent(consumer)


async def test_a_dead_letter_is_moved_at_once_and_kept_until_somebody_looks(bus: Bus, topic: str) -> None:
    consumer = await bus.subscribe(topic, "s", window=10)
    await publish(bus, topic, b"not json")
    await consumer.dead_letter(await one(consumer), reason='not JSON: "line"\n')
    assert await is_silent(consumer)
    letter = await one(await dead_letters(bus, topic))
    assert (letter.body, letter.properties[REASON_PROPERTY]) == (b"not json", 'not JSON: "line"\n')


async def test_a_delivery_tells_when_it_was_published(bus: Bus, topic: str) -> None:
    await bus.ensure_subscription(topic, "s")
    await publish(bus, topic, b"x")
    published = time.time()
    await asyncio.sleep(1)
    delivery = await one(await bus.subscribe(topic, "s", window=1))
    assert abs(delivery.published_at - published) < 0.5


async def test_what_is_given_back_goes_to_others_at_once_and_counts_nothing(connect: Connect, topic: str) -> None:
    bus = await connect()
    full = await bus.subscribe(topic, "s", window=2)
    await publish(bus, topic, b"0", b"1")
    [back, kept] = await take(full, 2)
    full.allow(1)
    other = await (await connect()).subscribe(topic, "s", window=10)
    given = time.monotonic()
    await full.give_back(back)
    again = await one(other)
    assert time.monotonic() - given < 1
    assert (again.body, again.attempt, again.crashes) == (back.body, 1, 0)
    await full.give_back(back)
    await full.ack([back, kept])
    assert await is_silent(other)
    await other.ack([again])


async def test_the_backlog_tells_ready_delayed_and_in_flight_apart(bus: Bus, topic: str) -> None:
    assert await bus.backlog(topic, "s") == Backlog(0, 0, 0)
    consumer = await bus.subscribe(topic, "s", window=2)
    # First: a broker may learn that a message is delayed when it looks for one to deliver.
    await (await bus.publisher(topic)).publish([Outgoing(b"late", deliver_after=3600)] * 4)
    await until_backlog(bus, topic, "s", Backlog(ready=0, delayed=4, in_flight=0))
    await publish(bus, topic, *(b"%d" % number for number in range(5)))
    held = await take(consumer, 2)
    await until_backlog(bus, topic, "s", Backlog(ready=3, delayed=4, in_flight=2))
    await consumer.ack(held)
    await consumer.ack(await take(consumer, 2))
    await consumer.ack(await take(consumer, 1))
    await until_backlog(bus, topic, "s", Backlog(ready=0, delayed=4, in_flight=0))


@pytest.mark.kills
async def test_messages_of_a_killed_process_go_to_others(connect: Connect, broker: Broker, topic: str) -> None:
    bus = await connect()
    await bus.ensure_subscription(topic, "s")
    await publish(bus, topic, b"0", b"1", b"2")
    async with holder(broker, topic, "s", count=3) as process:
        survivor = await bus.subscribe(topic, "s", window=10)
        assert await is_silent(survivor, 2.0)
        process.kill()
        killed = time.monotonic()
        assert {delivery.body for delivery in await take(survivor, 3)} == {b"0", b"1", b"2"}
        assert time.monotonic() - killed < 3


async def test_a_message_that_comes_back_at_once_can_be_settled_again(bus: Bus, topic: str) -> None:
    consumer = await bus.subscribe(topic, "s", window=20, max_attempts=100)
    await (await bus.publisher(topic)).publish([Outgoing(b"%d" % number) for number in range(20)])
    for _ in range(5):
        await asyncio.gather(*(consumer.nack(each, delay=0, reason="r") for each in await take(consumer, 20)))
    await consumer.ack(await take(consumer, 20))
    await consumer.close()
    again = await bus.subscribe(topic, "s", window=20)
    assert await is_silent(again)
