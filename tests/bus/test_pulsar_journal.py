"""The journal of deliveries on brokers of the test's own, which are killed; and without rights on it."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pulsar
import pytest

from agentos.parts import pulsar_config
from agentos.parts.pulsar import StandalonePulsar
from bus.patience import patiently
from bus.port import Delivery, Outgoing, Subscription
from bus.pulsar import PulsarBus
from tests.bus.conftest import take

pytestmark = [pytest.mark.pulsar, pytest.mark.kills, pytest.mark.timeout(400)]

MESSAGES = 2_000
REPEATED = 0.01  # of what was settled, at most


@pytest.fixture
def forgetful(pulsar_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[StandalonePulsar]:
    """A broker that writes positions of acks as seldom as Pulsar does by default."""
    for name in ("managedLedgerDefaultMarkDeleteRateLimit", "managedLedgerCursorPositionFlushSeconds"):
        monkeypatch.delitem(pulsar_config.SETTINGS, name)
    with StandalonePulsar(pulsar_home, tmp_path / "pulsar") as broker:
        yield broker


async def connect(broker: StandalonePulsar) -> PulsarBus:
    return await PulsarBus.connect(broker.url, admin_url=broker.admin_url)


async def settle_all(consumer: Subscription, done: Counter[bytes]) -> None:
    while True:
        deliveries = await consumer.receive()
        done.update(delivery.body for delivery in deliveries)
        await consumer.ack(deliveries)


class Plain:
    """A consumer that settles everything too, and remembers nothing."""

    def __init__(self, url: str, topic: str) -> None:
        self.count = 0
        self._client = pulsar.Client(url, logger=pulsar.ConsoleLogger(pulsar.LoggerLevel.Error))
        self._client.subscribe(topic, "plain", pulsar.ConsumerType.Shared, message_listener=self._hear)

    def _hear(self, consumer: pulsar.Consumer, message: pulsar.Message) -> None:
        self.count += 1
        consumer.acknowledge(message)

    def close(self) -> None:
        self._client.close()


@pytest.mark.long
async def test_what_was_settled_before_the_broker_was_killed_is_not_delivered_again(
    forgetful: StandalonePulsar, topic: str
) -> None:
    buses = [await connect(forgetful) for _ in range(2)]
    done: Counter[bytes] = Counter()
    consumers = [await bus.subscribe(topic, "s", window=100, prefetch=20) for bus in buses]
    plain = await asyncio.to_thread(Plain, forgetful.url, topic)
    settling = [asyncio.create_task(settle_all(consumer, done)) for consumer in consumers]
    await (await buses[0].publisher(topic)).publish([Outgoing(b"%d" % number) for number in range(MESSAGES)])
    async with asyncio.timeout(60):
        while len(done) < MESSAGES or plain.count < MESSAGES:  # noqa: ASYNC110 - a plain consumer sends no event
            await asyncio.sleep(0.05)
    await asyncio.sleep(1)  # the acks have reached the broker, which has forgotten most when it is back
    await asyncio.to_thread(forgetful.kill)
    await asyncio.to_thread(forgetful.start)
    joined = await connect(forgetful)
    newcomer = await patiently(lambda: joined.subscribe(topic, "s", window=100), "a newcomer")
    settling.append(asyncio.create_task(settle_all(newcomer, done)))
    marker = await publish_marker(joined, topic)
    async with asyncio.timeout(60):
        while not done[marker] or plain.count < 1.2 * MESSAGES:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    await asyncio.sleep(3)  # for more that might come
    repeated = sum(done.values()) - len(done)
    assert repeated <= REPEATED * MESSAGES, f"{repeated} of {MESSAGES}; a plain consumer: {plain.count - MESSAGES}"
    for task in settling:
        task.cancel()
    await asyncio.gather(*settling, return_exceptions=True)
    for bus in [*buses, joined]:
        await bus.close()
    await asyncio.to_thread(plain.close)


async def publish_marker(bus: PulsarBus, topic: str) -> bytes:
    await (await bus.publisher(topic)).publish([Outgoing(b"marker")])
    return b"marker"


async def take_until_quiet(consumer: Subscription, marker: bytes, seconds: float) -> list[Delivery]:
    """All that comes until `marker` has, and then nothing for so long."""
    taken: list[Delivery] = []
    while marker not in {delivery.body for delivery in taken}:
        taken += await take(consumer, 1)
    with contextlib.suppress(TimeoutError):
        while True:
            async with asyncio.timeout(seconds):
                taken += await consumer.receive()
    return taken


async def test_a_restart_of_the_broker_is_no_crash_of_those_who_live(
    own_pulsar: StandalonePulsar, topic: str
) -> None:
    holding, other = await connect(own_pulsar), await connect(own_pulsar)
    holder = await holding.subscribe(topic, "s", window=20)
    await (await holding.publisher(topic)).publish([Outgoing(b"%d" % number) for number in range(20)])
    held = await take(holder, 20)
    consumer = await other.subscribe(topic, "s", window=30)
    await asyncio.to_thread(own_pulsar.kill)
    await asyncio.to_thread(own_pulsar.start)
    await publish_marker(other, topic)
    taken = await take_until_quiet(consumer, b"marker", 5.0)
    assert {delivery.crashes for delivery in taken} == {0}
    # Those that went to `consumer` are its own now: only their holder's death counts.
    await holder.ack(held)
    await holding.close()
    await other.close()
