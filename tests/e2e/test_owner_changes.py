"""A coordinator dies, or does not know whether it has published: nothing in flight is called a second time."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import uuid
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import aiohttp
import openai
import pytest

from agentos.parts.pulsar import StandalonePulsar
from bus.pulsar.publisher import SEND_TIMEOUT_MILLISECONDS
from bus.topics import model_subscription, model_topic
from store import Epoch, Store, Submission
from tests.double.server import Provider
from tests.e2e.asking import ANSWER, QUESTION, ask
from tests.fixtures.fleet import Counts, Fleet, site_on_pulsar, until

pytestmark = [pytest.mark.kills, pytest.mark.timeout(200), pytest.mark.xdist_group("e2e-owner-changes")]

MANY = 60
# For what waits for a lease to run out.
LONG = 90.0


async def test_what_a_killed_coordinator_had_published_is_not_called_again(
    own_fleet: Fleet, provider: Provider
) -> None:
    """At that moment some of it waits for a worker, some is at the provider, and some is on the result topic."""
    provider.delay = 0.5
    first, second = own_fleet.coordinator(), own_fleet.coordinator()
    await own_fleet.start(first, own_fleet.worker(API_URL=provider.url, MAX_PROCESS_NUM="4"))
    async with own_fleet.client(first) as client:
        asking = asyncio.gather(*_asked(client, own_fleet.model), return_exceptions=True)
        await provider.call(5)
        first.kill()
        await asking
    left = (await own_fleet.counts()).outbox
    assert left, "everything was forgotten before the kill"
    # As if its lease had run out: the successor looks at it while most of it is under way.
    await own_fleet.rows("update outbox set claimed_until = now()")
    await own_fleet.start(second)
    tasks = (await own_fleet.counts()).tasks
    added = await own_fleet.folded(progress=tasks, since=NOTHING, seconds=LONG)
    assert added == Counts(tasks=tasks, progress=tasks, ledger=tasks, outbox=0)
    assert len(provider.calls) == tasks
    assert await published(second.url, "found") > 0


NOTHING = Counts(0, 0, 0, 0)


def _asked(client: openai.AsyncOpenAI, model: str) -> list[Coroutine[Any, Any, str]]:
    return [ask(client, model) for _ in range(MANY)]


async def published(url: str, path: str) -> float:
    """How many rows a coordinator counts so."""
    async with aiohttp.ClientSession() as session, session.get(url + "/metrics") as response:
        found = re.search(rf'agentos_outbox_published_total{{path="{path}"}} ([\d.e+]+)', await response.text())
    return float(found[1]) if found else 0.0


async def test_what_was_never_published_is_published_by_the_successor(own_fleet: Fleet, provider: Provider) -> None:
    await own_fleet.start(own_fleet.coordinator(), own_fleet.worker(API_URL=provider.url, MAX_PROCESS_NUM="8"))
    store = await Store.connect(own_fleet.site.database_url)
    await store.submit([left_by_the_dead(own_fleet.model) for _ in range(MANY)])
    await store.close()
    added = await own_fleet.folded(progress=MANY, since=NOTHING, seconds=LONG)
    assert added == Counts(tasks=MANY, progress=MANY, ledger=MANY, outbox=0)
    assert len(provider.calls) == MANY
    assert await published(own_fleet.url, "sweep") == MANY


def left_by_the_dead(model: str) -> Submission:
    """As a gateway commits it that is killed before it can publish; its lease is over."""
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


@pytest.mark.pulsar
async def test_what_a_broker_took_and_never_confirmed_is_not_called_again(
    own_pulsar: StandalonePulsar, store_url: str, provider: Provider, tmp_path: Path
) -> None:
    """The broker stands still for longer than a publisher waits, and finds the messages when it goes on."""
    with Fleet(site_on_pulsar(store_url, own_pulsar.url, own_pulsar.admin_url), tmp_path) as fleet:
        await fleet.start(fleet.coordinator(), fleet.worker(API_URL=provider.url, MAX_PROCESS_NUM="8"))
        coordinator = fleet.gateway
        assert coordinator is not None
        async with fleet.client() as client:
            assert await ask(client, fleet.model) == ANSWER
            os.kill(own_pulsar.pid, signal.SIGSTOP)
            try:
                asking = asyncio.gather(*_asked(client, fleet.model))
                await until(lambda: "left to the sweep" in coordinator.said(), "publishers give up", seconds=LONG)
                await asyncio.sleep(SEND_TIMEOUT_MILLISECONDS / 10_000)
            finally:
                os.kill(own_pulsar.pid, signal.SIGCONT)
            assert await asking == [ANSWER] * MANY
        added = await fleet.folded(progress=MANY + 1, since=NOTHING, seconds=LONG)
        assert added == Counts(tasks=MANY + 1, progress=MANY + 1, ledger=MANY + 1, outbox=0)
        assert len(provider.calls) == MANY + 1
