"""What every bus knows of messages that were published under a key."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import pytest

from bus.port import Bus, Outgoing
from core.errors import BusUnavailable
from tests.bus.conftest import Connect, is_silent, take, until

KEYS = [str(number) for number in range(300)]


async def publish(bus: Bus, topic: str, *messages: Outgoing) -> None:
    await (await bus.publisher(topic)).publish(messages)


async def test_what_was_published_is_found_and_nothing_else(connect: Connect, topic: str) -> None:
    bus, other = await connect(), await connect()
    began = time.time()
    await bus.ensure_subscription(topic, "s")
    await publish(bus, topic, Outgoing(b"x"), *(Outgoing(b"x", key=key) for key in KEYS[::2]))
    assert await other.published(topic, began, KEYS) == set(KEYS[::2])
    assert await other.published(topic, began, ["1"]) == set()
    assert await other.published(topic, began, []) == set()


async def test_a_topic_that_is_not_there_or_empty_holds_nothing(bus: Bus, topic: str) -> None:
    assert await bus.published(topic, time.time(), KEYS) == set()
    await bus.ensure_subscription(topic, "s")
    assert await bus.published(topic, time.time(), KEYS) == set()


async def test_other_topics_and_other_subscriptions_change_nothing(bus: Bus, topic: str) -> None:
    began = time.time()
    for name in ("first", "second"):
        await bus.ensure_subscription(topic, name)
    await bus.ensure_subscription(topic + "-other", "first")
    await publish(bus, topic + "-other", Outgoing(b"x", key="other"))
    await publish(bus, topic, Outgoing(b"x", key="here"))
    first = await bus.subscribe(topic, "first", window=1)
    await first.ack(await take(first, 1))
    assert await bus.published(topic, began, ["other", "here"]) == {"here"}


async def test_a_message_is_found_until_it_is_settled_wherever_it_is(bus: Bus, topic: str) -> None:
    began = time.time()
    consumer = await bus.subscribe(topic, "s", window=10)
    keys = ["late", "held", "nacked", "put off", "back"]
    await publish(bus, topic, *(Outgoing(key.encode(), {}, 60.0 if key == "late" else 0.0, key) for key in keys))
    held = {delivery.key: delivery for delivery in await take(consumer, 4)}
    assert set(held) == set(keys) - {"late"}
    await consumer.nack(held["nacked"], delay=0, reason="r")
    await consumer.nack(held["put off"], delay=60, reason="r")
    await consumer.give_back(held["back"])
    assert await bus.published(topic, began, keys) == set(keys)
    again = {delivery.key: delivery for delivery in await take(consumer, 2)}
    assert set(again) == {"nacked", "back"}
    assert await bus.published(topic, began, keys) == set(keys)


async def test_a_dead_letter_keeps_its_key(bus: Bus, topic: str) -> None:
    consumer = await bus.subscribe(topic, "s", window=1)
    await publish(bus, topic, Outgoing(b"x", key="k"))
    [delivery] = await take(consumer, 1)
    await consumer.dead_letter(delivery, reason="r")
    assert await bus.published(f"{topic}-s-DLQ", time.time(), ["k"]) == {"k"}


async def test_a_message_in_a_batch_is_found(bus: Bus, topic: str) -> None:
    """As results are published."""
    await bus.ensure_subscription(topic, "s")
    began = time.time()
    publisher = await bus.publisher(topic, batching=True)
    await publisher.publish([Outgoing(b"x", key=key) for key in KEYS])
    assert await bus.published(topic, began, ["7", "299", "300"]) == {"7", "299"}


async def test_a_busy_topic_is_searched_to_its_end_of_now(bus: Bus, topic: str) -> None:
    await bus.ensure_subscription(topic, "s")
    publisher = await bus.publisher(topic)
    began = time.time()
    await publisher.publish([Outgoing(b"x", key=key) for key in KEYS])
    busy = asyncio.create_task(_publish_on(publisher.publish))
    try:
        async with asyncio.timeout(15):
            assert await bus.published(topic, began, [*KEYS, "missing"]) == set(KEYS)
    finally:
        busy.cancel()


async def _publish_on(publish: Callable[..., object]) -> None:
    while True:
        await publish([Outgoing(b"more")] * 20)  # type: ignore[misc]


async def test_a_question_takes_nothing_from_anybody(connect: Connect, topic: str) -> None:
    bus = await connect()
    await bus.ensure_subscription(topic, "s")
    await publish(bus, topic, *(Outgoing(key.encode(), key=key) for key in KEYS))
    assert await bus.published(topic, time.time(), KEYS) == set(KEYS)
    consumer = await (await connect()).subscribe(topic, "s", window=1000, prefetch=100)
    assert sorted(delivery.body.decode() for delivery in await take(consumer, len(KEYS))) == sorted(KEYS)
    assert (await bus.backlog(topic, "s")).delayed == 0

    async def only_its_own() -> bool:
        return (await bus.backlog(topic, "s")).in_flight == len(KEYS)

    await until(only_its_own)


async def test_what_should_have_left_before_is_not_published_any_more(bus: Bus, topic: str) -> None:
    """Its publisher may have stood still, and somebody else has published it."""
    consumer = await bus.subscribe(topic, "s", window=10)
    publisher = await bus.publisher(topic, kept=True)
    now = time.time()
    await publisher.publish([Outgoing(b"in time", leave_by=now + 60), Outgoing(b"any time")])
    with pytest.raises(BusUnavailable):
        await publisher.publish([Outgoing(b"too late", leave_by=now - 1)])
    await publisher.publish([Outgoing(b"later", leave_by=now + 60)])
    assert [delivery.body for delivery in await take(consumer, 3)] == [b"in time", b"any time", b"later"]
    assert await is_silent(consumer)
