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
from tests.fixtures.fleet import Counts, Daemon, Fleet, site_on_pulsar, until

pytestmark = [pytest.mark.kills, pytest.mark.timeout(200), pytest.mark.xdist_group("e2e-owner-changes")]

MANY, ANSWERED = 60, 8
# For what waits for a lease to run out.
LONG = 90.0
# The coordinator dies in the second between a publication and its deletion from the outbox.
FORGET_NOTHING = (
    "create function forget_nothing() returns trigger language plpgsql as 'begin return null; end'",
    "create trigger forget_nothing before delete on outbox for each row execute function forget_nothing()",
)


async def test_what_a_killed_coordinator_had_published_is_not_called_again(
    own_fleet: Fleet, provider: Provider
) -> None:
    """Some of it waits for a worker, some is at the provider, and some is answered."""
    provider.hold(after=ANSWERED)
    first, second = own_fleet.coordinator(), own_fleet.coordinator()
    await own_fleet.start(first, own_fleet.worker(API_URL=provider.url, MAX_PROCESS_NUM="4"))
    for statement in FORGET_NOTHING:
        await own_fleet.rows(statement)
    async with own_fleet.client(first) as client:
        asking = asyncio.gather(*_asked(client, own_fleet.model), return_exceptions=True)
        await provider.call(ANSWERED + 3)
        await until(lambda: publishes_all(first), "every request is published")
        first.kill()
        await asking
    # As if its lease had run out.
    await own_fleet.rows("update outbox set claimed_until = now()")
    await own_fleet.rows("drop trigger forget_nothing on outbox")
    await own_fleet.start(second)
    await until(lambda: finds_all(second), "the successor has asked for what was left", seconds=LONG)
    provider.release()
    added = await own_fleet.folded(progress=MANY, since=NOTHING, seconds=LONG)
    assert added == Counts(tasks=MANY, progress=MANY, ledger=MANY, outbox=0)
    assert len(provider.calls) == MANY
    assert await published(second.url, "sweep") == 0


async def publishes_all(coordinator: Daemon) -> bool:
    return await published(coordinator.url, "direct") == MANY


async def finds_all(coordinator: Daemon) -> bool:
    """Those that were answered may have been folded by now; then nobody asks for them."""
    return await published(coordinator.url, "found") >= MANY - ANSWERED


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
