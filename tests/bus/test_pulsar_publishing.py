"""Traps of Pulsar on the publishers' side, and of the client's threads."""

from __future__ import annotations

import asyncio
import subprocess
import sys

import pytest

from bus.port import Backlog, Outgoing
from bus.pulsar import PulsarBus
from bus.pulsar.publisher import PENDING_SENDS, Publishers
from core.errors import BusClosed
from tests.bus.conftest import take, until

pytestmark = pytest.mark.pulsar

# Ends its loop with sends, a subscription and a listener under way, and says so.
CARELESS = """
import asyncio, sys
from bus.port import Outgoing
from bus.pulsar import PulsarBus

async def main():
    bus = await PulsarBus.connect(sys.argv[1], admin_url=sys.argv[2])
    publisher = await bus.publisher(sys.argv[3])
    await bus.subscribe(sys.argv[3], "s", window=1)
    await bus.listen(sys.argv[3], lambda frame: None)
    asyncio.create_task(publisher.publish([Outgoing(b"x" * 1000)] * 4000))
    await asyncio.sleep(0)

asyncio.run(main())
print("over")
"""


async def test_more_sends_at_once_than_the_client_would_take_all_arrive(pulsar_bus: PulsarBus, topic: str) -> None:
    publisher = await pulsar_bus.publisher(topic)
    count = PENDING_SENDS + 1000
    calls = [publisher.publish([Outgoing(b"x")] * (count // 10)) for _ in range(10)]
    consumer = await pulsar_bus.subscribe(topic, "s", window=count, prefetch=500)
    await asyncio.gather(*calls)
    assert len(await take(consumer, count)) == count


async def test_a_request_publisher_does_not_batch_and_a_batching_one_does(pulsar_bus: PulsarBus, topic: str) -> None:
    for batching, name in ((False, topic + "-alone"), (True, topic + "-together")):
        await pulsar_bus.ensure_subscription(name, "s")
        publisher = await pulsar_bus.publisher(name, batching=batching)
        await publisher.publish([Outgoing(b"x")] * 50)
    assert (await pulsar_bus.backlog(topic + "-alone", "s")).ready == 50

    async def in_few_entries() -> bool:
        return 0 < (await pulsar_bus.backlog(topic + "-together", "s")).ready < 50

    await until(in_few_entries)


async def test_a_publish_that_is_cancelled_frees_its_room(pulsar_bus: PulsarBus, topic: str) -> None:
    await pulsar_bus.ensure_subscription(topic, "s")
    publisher = await pulsar_bus.publisher(topic)
    publishing = asyncio.create_task(publisher.publish([Outgoing(b"x")] * (PENDING_SENDS + 1)))
    await asyncio.sleep(0)
    publishing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await publishing
    await publisher.publish([Outgoing(b"y")] * (PENDING_SENDS + 1))


async def test_closing_the_bus_ends_sends_under_way_by_name(pulsar_bus: PulsarBus, topic: str) -> None:
    publisher = await pulsar_bus.publisher(topic)
    publishing = asyncio.create_task(publisher.publish([Outgoing(b"x" * 100_000)] * PENDING_SENDS))
    await asyncio.sleep(0)
    await pulsar_bus.close()
    with pytest.raises(BusClosed):
        await publishing


async def test_too_many_publishers_close_the_one_that_is_used_least(pulsar_bus: PulsarBus, topic: str) -> None:
    publishers = Publishers(pulsar_bus._client, limit=2)
    first, second = await publishers.get(topic + "1"), await publishers.get(topic + "2")
    assert await publishers.get(topic + "1") is first
    await publishers.get(topic + "3")

    async def second_is_closed() -> bool:
        return second.closed

    await until(second_is_closed)
    assert not first.closed
    await (await publishers.get(topic + "2")).publish([Outgoing(b"x")])


async def test_who_asks_at_once_for_the_same_publisher_gets_the_same(pulsar_bus: PulsarBus, topic: str) -> None:
    same = await asyncio.gather(*(pulsar_bus.publisher(topic) for _ in range(5)))
    assert len(set(map(id, same))) == 1
    assert await pulsar_bus.publisher(topic, batching=True) is not same[0]


async def test_a_loop_that_ends_before_its_bus_does_not_abort_the_process(
    pulsar_address: dict[str, str], topic: str
) -> None:
    addresses = pulsar_address["pulsar_url"], pulsar_address["pulsar_admin_url"]
    done = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-c", CARELESS, *addresses, topic],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stdout) == (0, "over\n"), done.stderr


async def test_the_backlog_of_nothing_is_zero(pulsar_bus: PulsarBus, topic: str) -> None:
    assert await pulsar_bus.backlog(topic, "s") == Backlog(0, 0, 0)
