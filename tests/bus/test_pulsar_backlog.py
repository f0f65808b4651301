"""Pulsar's figures beside what is really there: batches, and delayed messages that nobody waits for any more."""

from __future__ import annotations

import asyncio
import time

import pytest

from bus.port import Backlog, Outgoing
from bus.pulsar import PulsarBus
from bus.pulsar.admin import LOOKED_AT
from bus.pulsar.client import close_client, open_client
from tests.bus.conftest import take, until, until_backlog

pytestmark = pytest.mark.pulsar


@pytest.fixture
def topic(topic: str) -> str:
    """One with characters that are encoded."""
    return f"{topic}%2Fpart"


async def publish_batches(address: dict[str, str], topic: str, count: int, size: int) -> None:
    """As a program of somebody else's does."""

    def publish() -> None:
        client = open_client(address["pulsar_url"], "")
        producer = client.create_producer(
            topic, batching_enabled=True, batching_max_messages=size, batching_max_publish_delay_ms=60_000
        )
        for _ in range(count * size):
            producer.send_async(b"x", lambda *_: None)
        producer.flush()
        close_client(client)

    await asyncio.to_thread(publish)


async def test_a_consumer_tells_how_many_messages_a_batch_has(
    pulsar_bus: PulsarBus, pulsar_address: dict[str, str], topic: str
) -> None:
    await pulsar_bus.ensure_subscription(topic, "s")
    await publish_batches(pulsar_address, topic, count=5, size=10)
    assert (await pulsar_bus.backlog(topic, "s")).ready == 5
    consumer = await pulsar_bus.subscribe(topic, "s", window=4)
    await take(consumer, 4)
    await until_backlog(pulsar_bus, topic, "s", Backlog(ready=40, delayed=0, in_flight=10))


async def test_a_consumer_that_has_had_nothing_yet_changes_nothing(pulsar_bus: PulsarBus, topic: str) -> None:
    await pulsar_bus.ensure_subscription(topic, "s")
    await (await pulsar_bus.publisher(topic)).publish([Outgoing(b"x") for _ in range(3)])
    consumer = await pulsar_bus.subscribe(topic, "s", window=1)
    consumer.allow(0)
    backlog = await pulsar_bus.backlog(topic, "s")
    assert backlog.ready + backlog.in_flight == 3


async def test_without_consumers_a_delayed_message_becomes_ready_all_the_same(
    pulsar_bus: PulsarBus, topic: str
) -> None:
    consumer = await pulsar_bus.subscribe(topic, "s", window=1)
    publisher = await pulsar_bus.publisher(topic)
    due_at = time.time() + 3.0
    await publisher.publish([Outgoing(b"soon", deliver_after=3.0), Outgoing(b"late", deliver_after=3600.0)])
    await until_backlog(pulsar_bus, topic, "s", Backlog(ready=0, delayed=2, in_flight=0))
    await consumer.close()
    await until(lambda: _is_ready(pulsar_bus, topic))
    assert time.time() > due_at
    assert await pulsar_bus.backlog(topic, "s") == Backlog(ready=1, delayed=1, in_flight=0)


async def test_without_consumers_what_is_too_much_to_look_at_counts_as_ready(
    pulsar_bus: PulsarBus, topic: str
) -> None:
    consumer = await pulsar_bus.subscribe(topic, "s", window=1)
    many = LOOKED_AT + 5
    late = [Outgoing(b"late", deliver_after=3600.0) for _ in range(many)]
    await (await pulsar_bus.publisher(topic)).publish(late)
    await until_backlog(pulsar_bus, topic, "s", Backlog(ready=0, delayed=many, in_flight=0))
    await consumer.close()
    await until_backlog(pulsar_bus, topic, "s", Backlog(ready=5, delayed=LOOKED_AT, in_flight=0))


async def _is_ready(bus: PulsarBus, topic: str) -> bool:
    return (await bus.backlog(topic, "s")).ready > 0
