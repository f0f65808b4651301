"""Traps of Pulsar on the consumers' side."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable

import aiohttp
import pulsar
import pytest

from agentos.parts.pulsar import free_ports
from bus.port import ATTEMPT_PROPERTY, Backlog, Outgoing
from bus.pulsar import PulsarBus, journal, subscribing
from bus.pulsar.journal_writer import SETTLED_SECONDS
from bus.topics import model_subscription, model_topic
from core.errors import BusUnavailable
from tests.bus.conftest import is_silent, take, until
from tests.fixtures.pulsar import ConnectPulsar

pytestmark = pytest.mark.pulsar

Send = Callable[[str, list[bytes]], Awaitable[None]]
MakePartitioned = Callable[[str, int], Awaitable[None]]


@pytest.fixture
async def send_as_others_do(pulsar_address: dict[str, str]) -> AsyncIterator[Send]:
    """Publishes with a producer that batches, as those of other languages do by default: one entry."""
    client = pulsar.Client(pulsar_address["pulsar_url"], logger=pulsar.ConsoleLogger(pulsar.LoggerLevel.Error))

    def send(topic: str, bodies: list[bytes]) -> None:
        producer = client.create_producer(topic, batching_enabled=True, batching_max_publish_delay_ms=200)
        for body in bodies:
            producer.send_async(body, lambda _result, _id: None)
        producer.flush()

    async def in_thread(topic: str, bodies: list[bytes]) -> None:
        await asyncio.to_thread(send, topic, bodies)

    yield in_thread
    await asyncio.to_thread(client.close)


@pytest.fixture
def make_partitioned(pulsar_address: dict[str, str]) -> MakePartitioned:
    async def make(topic: str, count: int) -> None:
        url = f"{pulsar_address['pulsar_admin_url']}/admin/v2/persistent/public/default/{topic}/partitions"
        async with aiohttp.ClientSession() as session, session.put(url, json=count) as answer:
            assert answer.status == 204

    return make


async def publish(bus: PulsarBus, topic: str, *bodies: bytes) -> None:
    await (await bus.publisher(topic)).publish([Outgoing(body) for body in bodies])


async def test_nothing_is_stuck_behind_a_busy_consumer(pulsar_bus: PulsarBus, topic: str) -> None:
    busy = await pulsar_bus.subscribe(topic, "s", window=1)
    free = await pulsar_bus.subscribe(topic, "s", window=100)
    await publish(pulsar_bus, topic, *(b"%d" % number for number in range(10)))
    assert len(await take(busy, 1)) == 1
    assert len(await take(free, 9)) == 9
    assert await pulsar_bus.backlog(topic, "s") == Backlog(ready=0, delayed=0, in_flight=10)


async def test_a_batch_passes_through_a_window_of_one(
    pulsar_bus: PulsarBus, topic: str, send_as_others_do: Send
) -> None:
    consumer = await pulsar_bus.subscribe(topic, "s", window=1)
    await send_as_others_do(topic, [b"0", b"1", b"2", b"3"])
    await publish(pulsar_bus, topic, b"4")
    bodies = []
    for _ in range(5):
        [delivery] = await take(consumer, 1)
        bodies.append(delivery.body)
        await consumer.ack([delivery])
    assert bodies == [b"0", b"1", b"2", b"3", b"4"]
    await consumer.close()
    assert await is_silent(await pulsar_bus.subscribe(topic, "s", window=10))


async def test_a_partitioned_topic_works_like_a_plain_one(
    pulsar_bus: PulsarBus, topic: str, make_partitioned: MakePartitioned
) -> None:
    await make_partitioned(topic, 3)
    await pulsar_bus.ensure_subscription(topic, "s")
    await publish(pulsar_bus, topic, *(b"%d" % number for number in range(9)))

    async def ready() -> bool:
        return await pulsar_bus.backlog(topic, "s") == Backlog(ready=9, delayed=0, in_flight=0)

    await until(ready)
    consumer = await pulsar_bus.subscribe(topic, "s", window=4)
    done: list[bytes] = []
    while len(done) < 9:
        held = await take(consumer, 1)
        assert len(held) <= 4
        done += [delivery.body for delivery in held]
        assert {delivery.topic for delivery in held} == {topic}
        await consumer.ack(held)
    assert sorted(done) == [b"%d" % number for number in range(9)]


async def test_an_attempt_that_a_stranger_wrote_badly_counts_as_the_first(pulsar_bus: PulsarBus, topic: str) -> None:
    consumer = await pulsar_bus.subscribe(topic, "s", window=1)
    await (await pulsar_bus.publisher(topic)).publish([Outgoing(b"x", {ATTEMPT_PROPERTY: "many"})])
    assert [delivery.attempt for delivery in await take(consumer, 1)] == [1]


async def test_names_with_encoded_characters_work_everywhere(connect_pulsar: ConnectPulsar, topic: str) -> None:
    bus = await connect_pulsar()
    model = f"meta/llama 3:8b {topic}"
    name, subscription = model_topic(model), model_subscription(model)
    assert "%2F" in name
    await bus.ensure_subscription(name, subscription)
    await publish(bus, name, b"x")

    async def waits() -> bool:
        return await bus.backlog(name, subscription) == Backlog(ready=1, delayed=0, in_flight=0)

    await until(waits)
    consumer = await bus.subscribe(name, subscription, window=1, max_attempts=1)
    [delivery] = await take(consumer, 1)
    assert delivery.topic == name
    await consumer.nack(delivery, delay=0, reason="r")


async def test_a_delayed_message_is_not_ready(pulsar_bus: PulsarBus, topic: str) -> None:
    consumer = await pulsar_bus.subscribe(topic, "s", window=2)
    await (await pulsar_bus.publisher(topic)).publish([Outgoing(b"late", deliver_after=3600)])
    await publish(pulsar_bus, topic, b"now")
    assert len(await take(consumer, 1)) == 1

    async def told_apart() -> bool:
        return await pulsar_bus.backlog(topic, "s") == Backlog(ready=0, delayed=1, in_flight=1)

    await until(told_apart)


async def test_without_a_journal_messages_are_served_all_the_same(
    connect_pulsar: ConnectPulsar, pulsar_address: dict[str, str], topic: str, caplog: pytest.LogCaptureFixture
) -> None:
    bus = await connect_pulsar()
    await (await bus.subscribe(topic, "s", window=1)).close()
    url = f"{pulsar_address['pulsar_admin_url']}/admin/v2/persistent/public/default/{topic}-s-journal/terminate"
    async with aiohttp.ClientSession() as session, session.post(url) as answer:
        assert answer.status == 200
    other = await connect_pulsar()
    consumer = await other.subscribe(topic, "s", window=1)
    await publish(bus, topic, b"0", b"1")
    for body in (b"0", b"1"):
        [delivery] = await take(consumer, 1)
        assert (delivery.body, delivery.crashes) == (body, 0)
        await consumer.ack([delivery])
    await consumer.close()
    assert [record.message for record in caplog.records if "journal" in record.message] == [
        "no journal of deliveries, so crashes are not counted: "
        f"making a producer for {topic}-s-journal: Pulsar says TopicTerminated"
    ]


async def test_the_past_of_a_journal_is_let_go_of(
    connect_pulsar: ConnectPulsar, topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "TRIM_SECONDS", 0.1)
    monkeypatch.setattr(journal, "HISTORY_SECONDS", 0)
    bus = await connect_pulsar()
    consumer = await bus.subscribe(topic, "s", window=1)
    for number in range(20):
        await publish(bus, topic, b"%d" % number)
        await consumer.ack(await take(consumer, 1))
        await asyncio.sleep(2 * SETTLED_SECONDS)  # each settlement is a record of its own

    async def short() -> bool:
        return 0 < (await bus.backlog(f"{topic}-s-journal", journal.KEEP)).ready < 10

    await until(short)


async def test_a_subscription_moves_to_a_time(
    pulsar_bus: PulsarBus, pulsar_address: dict[str, str], topic: str
) -> None:
    await pulsar_bus.ensure_subscription(topic, "s")
    await publish(pulsar_bus, topic, b"0", b"1")
    await asyncio.sleep(0.1)
    now = int(time.time() * 1000)
    await asyncio.sleep(0.1)
    await publish(pulsar_bus, topic, b"2")
    client = pulsar.Client(pulsar_address["pulsar_url"], logger=pulsar.ConsoleLogger(pulsar.LoggerLevel.Error))
    for milliseconds, ready in ((now - 60_000, 3), (now, 1), (now + 60_000, 0)):
        await asyncio.to_thread(subscribing.move_to, client, topic, "s", milliseconds)
        assert await pulsar_bus.backlog(topic, "s") == Backlog(ready=ready, delayed=0, in_flight=0)
    await asyncio.to_thread(client.close)


async def test_a_cancelled_subscribe_leaves_no_consumer_behind(connect_pulsar: ConnectPulsar, topic: str) -> None:
    bus = await connect_pulsar()
    await bus.ensure_subscription(topic, "s")
    await publish(bus, topic, b"x")
    joining = asyncio.create_task(bus.subscribe(topic, "s", window=1))
    await asyncio.sleep(0.001)
    joining.cancel()
    with pytest.raises(asyncio.CancelledError):
        await joining
    assert len(await take(await bus.subscribe(topic, "s", window=1), 1)) == 1


async def test_a_broker_that_is_not_there_is_unavailable() -> None:
    [port] = free_ports(1)
    begun = time.monotonic()
    with pytest.raises(BusUnavailable):
        await PulsarBus.connect(f"pulsar://127.0.0.1:{port}")
    assert time.monotonic() - begun < 30
