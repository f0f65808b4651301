"""Micro-batches from end to end, on both brokers: who is served together, what is billed, and what a kill loses."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import msgspec
import openai
import pytest

from bus.messages import Control, RequestMessage, ResultMessage, decode_event, encode
from bus.port import Bus, Outgoing, Subscription
from bus.topics import control_channel, model_topic
from tests.double.scripts import ANSWER, HANG
from tests.double.server import Provider
from tests.double.texts import vector
from tests.fixtures.fleet import PATIENCE, Counts, Fleet, until

pytestmark = [pytest.mark.kills, pytest.mark.xdist_group("e2e-batching")]
SIZE = 8
BATCHING = {"AGENTOS_BATCH_SIZE": str(SIZE)}


async def embed(client: openai.AsyncOpenAI, fleet: Fleet, text: str) -> list[float]:
    answer = await client.embeddings.create(model=fleet.model, input=text, encoding_format="float")
    return answer.data[0].embedding


def inputs(provider: Provider) -> list[int]:
    """How many texts each call brought."""
    return [len(call.body["input"]) if isinstance(call.body["input"], list) else 1 for call in provider.calls]


async def billed(fleet: Fleet) -> list[Any]:
    return await fleet.rows("select request_id, event_id, outcome, total_tokens, estimated from ledger")


async def test_embeddings_of_many_clients_go_in_few_calls_and_each_is_billed_its_own(
    own_fleet: Fleet, provider: Provider
) -> None:
    count = 40
    provider.delay = 0.3
    worker = own_fleet.worker(API_URL=provider.url, AGENTOS_BATCH_SECONDS="1:0.3,8:0.3", **BATCHING)
    await own_fleet.start(own_fleet.coordinator(), worker)
    before = await own_fleet.counts()
    texts = [" ".join([f"text-{number}"] * (1 + number % 5)) for number in range(count)]
    async with own_fleet.client() as client:
        answers = await asyncio.gather(*(embed(client, own_fleet, text) for text in texts))
    assert answers == [vector(text) for text in texts]
    sizes = inputs(provider)
    assert (sum(sizes), max(sizes)) == (count, SIZE)
    assert len(sizes) <= count / 2
    assert await own_fleet.folded(progress=count, since=before) == Counts(count, count, count, 0)
    rows = await billed(own_fleet)
    assert sum(row["total_tokens"] for row in rows) == provider.tokens == sum(len(text.split()) for text in texts)


async def test_a_killed_workers_batch_is_served_once_more_by_another(own_fleet: Fleet, provider: Provider) -> None:
    count = 7
    provider.hold(0)
    provider.script(ANSWER, HANG)
    first = own_fleet.worker(API_URL=provider.url, **BATCHING)
    second = own_fleet.worker(API_URL=provider.url, **BATCHING)
    await own_fleet.start(own_fleet.coordinator(), first)
    before = await own_fleet.counts()
    async with own_fleet.client() as client:
        asking = [asyncio.create_task(embed(client, own_fleet, "text 0"))]
        await provider.call(0)
        asking += [asyncio.create_task(embed(client, own_fleet, f"text {number}")) for number in range(1, count)]
        await queued(first.url, count - 1)
        provider.release()
        await provider.call(1)
        assert inputs(provider) == [1, count - 1]
        await own_fleet.start(second)
        first.kill()
        answers = await asyncio.gather(*asking)
    assert answers == [vector(f"text {number}") for number in range(count)]
    assert sum(inputs(provider)[2:]) == count - 1
    assert await own_fleet.folded(progress=count, since=before) == Counts(count, count, count, 0)
    rows = await billed(own_fleet)
    assert len({row["request_id"] for row in rows}) == len(rows) == count
    # What the killed worker's call has cost nobody could tell.
    assert sum(row["total_tokens"] for row in rows) == provider.tokens == 2 * count


async def queued(url: str, count: int) -> None:
    """Waits until a worker's queue for the next batch is so long."""

    async def is_so() -> bool:
        async with aiohttp.ClientSession() as session, session.get(url + "/metrics") as response:
            return f"agentos_worker_batch_queue {count:.1f}\n" in await response.text()

    await until(is_so, f"{count} wait for a batch")


@pytest.fixture
async def bus(own_fleet: Fleet) -> AsyncIterator[Bus]:
    bus = await own_fleet.bus()
    yield bus
    await bus.close()


async def results(subscription: Subscription, count: int) -> dict[str, ResultMessage]:
    """The next results, by their requests."""
    found: dict[str, ResultMessage] = {}
    async with asyncio.timeout(PATIENCE):
        while len(found) < count:
            deliveries = await subscription.receive()
            await subscription.ack(deliveries)
            events = [decode_event(each.body) for each in deliveries]
            found |= {event.request_id: event for event in events if isinstance(event, ResultMessage)}
    return found


async def publish(bus: Bus, fleet: Fleet, **serve_by: float) -> None:
    """Requests by name, and within how many seconds each is to be served."""
    now, data = time.time(), b'{"input": "some words"}'
    messages = [
        RequestMessage(request_id=name, data=msgspec.Raw(data), serve_by=now + seconds)
        for name, seconds in serve_by.items()
    ]
    publisher = await bus.publisher(model_topic(fleet.model))
    await publisher.publish([Outgoing(encode(message)) for message in messages])


async def test_a_batch_is_smaller_where_a_deadline_presses_and_what_has_no_hope_is_told_at_once(
    own_fleet: Fleet, bus: Bus
) -> None:
    table = "1:0.2,8:6.5"
    staged = {"AGENTOS_MOCK_BATCH_SECONDS": table, "AGENTOS_BATCH_SECONDS": table, "AGENTOS_BATCH_POLICY": "lazy"}
    worker = own_fleet.worker(**staged, **BATCHING)
    subscription = await bus.subscribe(own_fleet.result_topic, "test", window=100)
    await own_fleet.start(worker)
    await publish(bus, own_fleet, hopeless=0.1)
    told = (await results(subscription, 1))["hopeless"]
    assert told.error is not None
    assert (told.outcome, told.status, told.error["code"]) == ("expired", 504, "deadline_unreachable")
    assert not told.reached_provider
    relaxed = {f"relaxed{number}": 600.0 for number in range(SIZE - 1)}
    await publish(bus, own_fleet, pressed=4.0, **relaxed)
    served = await results(subscription, SIZE)
    assert {each.outcome for each in served.values()} == {"completed"}
    assert 1 <= served["pressed"].batch_size < SIZE


async def test_a_cancelled_one_of_a_running_batch_leaves_the_others_and_is_billed(
    own_fleet: Fleet, bus: Bus, provider: Provider
) -> None:
    provider.hold(0)
    provider.delay = 5.0  # the cancellation is faster
    worker = own_fleet.worker(API_URL=provider.url, **BATCHING)
    subscription = await bus.subscribe(own_fleet.result_topic, "test", window=100)
    await own_fleet.start(worker)
    await publish(bus, own_fleet, first=600.0)
    await provider.call(0)
    names = [f"r{number}" for number in range(SIZE)]
    await publish(bus, own_fleet, **dict.fromkeys(names, 600.0))
    await queued(worker.url, SIZE)
    provider.release()
    await provider.call(1)
    await bus.send(control_channel(own_fleet.model), encode(Control(cancel=["r3"])))
    ended = await results(subscription, 1 + SIZE)
    assert {name for name, each in ended.items() if each.outcome == "completed"} == {"first", *names} - {"r3"}
    assert (ended["r3"].outcome, ended["r3"].batch_size) == ("cancelled", SIZE)
    assert inputs(provider) == [1, SIZE]
    assert sum(each.usage.total_tokens for each in ended.values()) == provider.tokens
