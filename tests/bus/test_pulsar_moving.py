"""Questions about a topic that moves all the time, as when brokers share out their load anew or start."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import aiohttp
import pytest

from bus.port import Outgoing
from bus.pulsar import PulsarBus
from bus.pulsar.admin import Admin

pytestmark = pytest.mark.pulsar

KEYS = {str(number) for number in range(50)}
# Of every few some meet the topic on its way.
QUESTIONS, AT_ONCE = 16, 4


@pytest.fixture
async def moving(pulsar_bus: PulsarBus, pulsar_address: dict[str, str], topic: str) -> AsyncIterator[str]:
    """A topic with a message under each of `KEYS`, which is unloaded again and again."""
    await pulsar_bus.ensure_subscription(topic, "s")
    await (await pulsar_bus.publisher(topic)).publish([Outgoing(b"x", key=key) for key in KEYS])
    url = f"{pulsar_address['pulsar_admin_url']}/admin/v2/persistent/public/default/{topic}/unload"
    unloading = asyncio.create_task(unload(url))
    yield topic
    unloading.cancel()
    assert isinstance((await asyncio.gather(unloading, return_exceptions=True))[0], asyncio.CancelledError)


async def unload(url: str) -> None:
    async with aiohttp.ClientSession() as session:
        while True:
            async with session.put(url):
                await asyncio.sleep(1.0)


async def test_what_was_published_is_found(pulsar_bus: PulsarBus, moving: str) -> None:
    began = time.time()

    async def ask() -> None:
        for _ in range(QUESTIONS // AT_ONCE):
            assert await pulsar_bus.published(moving, began, KEYS | {"missing"}) == KEYS

    await asyncio.gather(*(ask() for _ in range(AT_ONCE)))


async def test_a_place_in_a_topic_is_found_by_time(
    pulsar_bus: PulsarBus, pulsar_address: dict[str, str], topic: str
) -> None:
    admin = Admin(pulsar_address["pulsar_admin_url"], "")
    try:
        assert await admin.position(topic, 0) is None
        await pulsar_bus.ensure_subscription(topic, "s")
        publisher = await pulsar_bus.publisher(topic)
        await publisher.publish([Outgoing(b"a")])
        await asyncio.sleep(0.01)  # times of messages are in milliseconds
        later = time.time()
        await publisher.publish([Outgoing(b"b")])
        first, second = await admin.position(topic, 0), await admin.position(topic, later)
        assert first is not None
        assert second == first._replace(entry=first.entry + 1)
    finally:
        await admin.close()
