"""Both brokers behind one fixture: every test of the contract runs on each."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest

from bus.connect import connect as connect_bus
from bus.port import Backlog, Bus, Delivery, Subscription

Connect = Callable[[], Awaitable[Bus]]
# Far above what any step takes; a test that waits this long has failed.
PATIENCE = 20.0


@dataclass(frozen=True)
class Broker:
    """Arguments of `bus.connect.connect`, for this process and for others."""

    address: dict[str, str]


@pytest.fixture(params=["postgres", pytest.param("pulsar", marks=pytest.mark.pulsar)])
def broker(request: pytest.FixtureRequest) -> Broker:
    """A broker of the kind named. Its fixture is asked for here, so that the other kind is not started."""
    if request.param == "postgres":
        return Broker({"bus_url": request.getfixturevalue("empty_database")})
    return Broker(request.getfixturevalue("pulsar_address"))


@pytest.fixture
async def connect(broker: Broker) -> AsyncIterator[Connect]:
    """Makes connections to one broker; they are closed after the test."""
    buses: list[Bus] = []

    async def connect() -> Bus:
        buses.append(await connect_bus(**broker.address))
        return buses[-1]

    yield connect
    for bus in buses:
        await bus.close()


@pytest.fixture
async def bus(connect: Connect) -> Bus:
    """One connection."""
    return await connect()


@pytest.fixture
def topic() -> str:
    """A name that no other test uses, for a topic or a channel."""
    return "topic-" + uuid.uuid4().hex


async def take(subscription: Subscription, count: int) -> list[Delivery]:
    """The next deliveries, at least `count`."""
    taken: list[Delivery] = []
    async with asyncio.timeout(PATIENCE):
        while len(taken) < count:
            taken += await subscription.receive()
    return taken


async def is_silent(subscription: Subscription, seconds: float = 0.5) -> bool:
    """Whether nothing is delivered for so long."""
    try:
        async with asyncio.timeout(seconds):
            await subscription.receive()
    except TimeoutError:
        return True
    return False


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    """Waits for what the broker reports with a lag."""
    async with asyncio.timeout(PATIENCE):
        while not await condition():  # noqa: ASYNC110
            await asyncio.sleep(0.05)  # a broker's figures send no event


async def until_backlog(bus: Bus, topic: str, subscription: str, expected: Backlog) -> None:
    """Waits for these figures; fails with the last ones."""
    with contextlib.suppress(TimeoutError):
        await until(lambda: _is_backlog(bus, topic, subscription, expected))
    assert await bus.backlog(topic, subscription) == expected


async def _is_backlog(bus: Bus, topic: str, subscription: str, expected: Backlog) -> bool:
    return await bus.backlog(topic, subscription) == expected


@asynccontextmanager
async def holder(
    broker: Broker, topic: str, subscription: str, *, count: int
) -> AsyncIterator[asyncio.subprocess.Process]:
    """Another process that holds `count` messages. It is killed at the end."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.bus.hold",
        json.dumps(broker.address),
        topic,
        subscription,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        async with asyncio.timeout(PATIENCE):
            for _ in range(count):
                assert await process.stdout.readline() == b"held\n"
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()
