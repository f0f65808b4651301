"""SIGKILL of coordinators: what was committed is published, what was published is folded once."""

from __future__ import annotations

import asyncio
import json
import uuid

import openai
import pytest

from bus.port import Outgoing
from bus.topics import model_subscription, model_topic
from store import Epoch, Store, Submission
from tests.double.server import Provider
from tests.e2e.asking import QUESTION, ask
from tests.fixtures.fleet import Counts, Fleet, until

pytestmark = [pytest.mark.kills, pytest.mark.xdist_group("e2e-kills-coordinator")]

MANY = 300


async def test_results_are_folded_once_although_the_fold_is_killed(own_fleet: Fleet) -> None:
    first, second = own_fleet.coordinator(), own_fleet.coordinator()
    worker = own_fleet.worker(MAX_PROCESS_NUM="8", AGENTOS_MOCK_DELAY_SECONDS="0.05")
    await own_fleet.start(first, worker)
    await publish_directly(own_fleet, MANY)
    await until(lambda: folded_between(own_fleet, 1, MANY), "the fold is at work")
    first.kill()
    assert await folded_between(own_fleet, 1, MANY), "the fold was over before it was killed"
    await own_fleet.start(second)
    await until(lambda: folded_between(own_fleet, MANY, 2 * MANY), "everything is folded")
    ((rows, requests),) = await own_fleet.rows("select count(*), count(distinct request_id) from ledger")
    assert (rows, requests) == (MANY, MANY)


async def publish_directly(fleet: Fleet, count: int) -> None:
    bus = await fleet.bus()
    publisher = await bus.publisher(model_topic(fleet.model))
    requests = [{"request_id": uuid.uuid4().hex, "data": {"messages": QUESTION}} for _ in range(count)]
    await publisher.publish([Outgoing(json.dumps(request).encode()) for request in requests])
    await bus.close()


async def folded_between(fleet: Fleet, least: int, below: int) -> bool:
    ((count,),) = await fleet.rows("select count(*) from inbox")
    return bool(least <= count < below)


async def test_answers_to_a_killed_gateway_are_folded_by_another(own_fleet: Fleet, provider: Provider) -> None:
    provider.delay = 5.0
    first, second = own_fleet.coordinator(), own_fleet.coordinator()
    await own_fleet.start(first, second, own_fleet.worker(API_URL=provider.url))
    before = await own_fleet.counts()
    async with own_fleet.client(first) as client:
        asking = [asyncio.create_task(ask(client, own_fleet.model)) for _ in range(20)]
        await provider.call(19)
        first.kill()
        ends = await asyncio.gather(*asking, return_exceptions=True)
    assert all(isinstance(end, openai.APIConnectionError) for end in ends)
    added = await own_fleet.folded(progress=20, since=before, seconds=60)
    assert added == Counts(tasks=20, progress=20, ledger=20, outbox=0)


async def test_what_a_killed_coordinator_had_committed_is_published_by_another(own_fleet: Fleet) -> None:
    await own_fleet.start(own_fleet.coordinator(), own_fleet.worker())
    before = await own_fleet.counts()
    store = await Store.connect(own_fleet.site.database_url)
    await store.submit([left_by_the_dead(own_fleet.model)])
    await store.close()
    added = await own_fleet.folded(progress=1, since=before)
    assert added == Counts(tasks=1, progress=1, ledger=1, outbox=0)


def left_by_the_dead(model: str) -> Submission:
    """As the gateway commits it; its lease is over."""
    return Submission(
        user_id=0,
        task_type="chat.completion",
        description="{}",
        node_id="0",
        topic=model_topic(model),
        subscription=model_subscription(model),
        envelope=json.dumps({"request_id": uuid.uuid4().hex}),
        body=json.dumps({"model": model, "messages": QUESTION}),
        owner="a coordinator that was killed",
        lease_seconds=0,
        epoch=Epoch(0, 0),
    )
