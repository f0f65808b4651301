"""Brokers of the test's own: killed and started again, or asking for tokens."""

from __future__ import annotations

import asyncio
import secrets
from pathlib import Path

import pytest

from agentos.parts.pulsar import StandalonePulsar
from agentos.parts.pulsar_config import make_token
from bus.port import Delivery, Outgoing, Subscription
from bus.pulsar import PulsarBus
from core.errors import BusRefused, BusUnavailable
from tests.bus.conftest import is_silent, take

pytestmark = [pytest.mark.pulsar, pytest.mark.timeout(400)]


async def publish_until_taken(bus: PulsarBus, topic: str, message: Outgoing) -> None:
    """As callers do: again while the broker is away."""
    while True:
        try:
            await (await bus.publisher(topic)).publish([message])
        except BusUnavailable:
            await asyncio.sleep(0.2)  # the broker sends no event when it is back
        else:
            return


@pytest.mark.long
@pytest.mark.kills
async def test_everything_resumes_after_the_broker_was_killed(own_pulsar: StandalonePulsar, topic: str) -> None:
    bus = await PulsarBus.connect(own_pulsar.url, admin_url=own_pulsar.admin_url)
    heard: asyncio.Queue[bytes] = asyncio.Queue()
    await bus.listen(topic, heard.put_nowait)
    consumer = await bus.subscribe(topic, "s", window=3)
    publisher = await bus.publisher(topic)
    await publisher.publish([Outgoing(b"%d" % number) for number in range(5)])
    held = await take(consumer, 3)

    await asyncio.to_thread(own_pulsar.kill)
    with pytest.raises(BusUnavailable):
        await bus.check()
    during = asyncio.create_task(publish_until_taken(bus, topic, Outgoing(b"during")))
    await asyncio.to_thread(own_pulsar.start)
    await during
    await bus.check()

    # What was held is not delivered a second time while it is held, and its slots stay taken.
    assert await is_silent(consumer, 3.0)
    await consumer.ack(held)
    # Nor after it has been settled, though the broker has forgotten that it was delivered.
    rest = await settle(consumer, {b"3", b"4", b"during"})
    assert {delivery.body for delivery in rest} == {b"3", b"4", b"during"}

    # The window has neither shrunk nor grown.
    await publish_until_taken(bus, topic, Outgoing(b"a"))
    await publisher.publish([Outgoing(b"b"), Outgoing(b"c"), Outgoing(b"d")])
    assert len(await take(consumer, 3)) == 3
    assert await is_silent(consumer)
    await frame_heard(bus, topic, heard)
    await bus.close()


async def settle(consumer: Subscription, wanted: set[bytes]) -> list[Delivery]:
    """Takes and acks until each of `wanted` has come."""
    done: list[Delivery] = []
    while not wanted <= {delivery.body for delivery in done}:
        held = await take(consumer, 1)
        await consumer.ack(held)
        done += held
    return done


async def frame_heard(bus: PulsarBus, channel: str, heard: asyncio.Queue[bytes]) -> None:
    """A listener is back when a frame comes through; those before are lost, as frames may be."""
    async with asyncio.timeout(60):
        while heard.empty():
            await bus.send(channel, b"frame")
            await asyncio.sleep(0.1)  # a lost frame sends no event


async def test_tokens_are_asked_for_and_never_shown(pulsar_home: Path, tmp_path: Path, topic: str) -> None:
    secret = secrets.token_bytes(32)
    wrong = make_token(secrets.token_bytes(32), "agentos")
    with StandalonePulsar(pulsar_home, tmp_path / "pulsar", token_secret=secret) as broker:
        bus = await PulsarBus.connect(broker.url, token=broker.token, admin_url=broker.admin_url)
        consumer = await bus.subscribe(topic, "s", window=1)
        await (await bus.publisher(topic)).publish([Outgoing(b"x")])
        assert [delivery.body for delivery in await take(consumer, 1)] == [b"x"]
        assert (await bus.backlog(topic, "s")).in_flight == 1
        await bus.close()
        for token in ("", wrong):
            with pytest.raises(BusRefused) as refused:
                await PulsarBus.connect(broker.url, token=token, admin_url=broker.admin_url)
            assert wrong not in str(refused.value)
        stranger = make_token(secret, "stranger")
        with pytest.raises(BusRefused):
            await PulsarBus.connect(broker.url, token=stranger, admin_url=broker.admin_url)
