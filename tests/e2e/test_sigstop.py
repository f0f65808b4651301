"""A worker that stands still in mid-call, and goes on when others have its work: nothing is answered twice."""

from __future__ import annotations

import asyncio
import json
import signal
import time
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from agentos.parts.pulsar import StandalonePulsar
from agentos.parts.pulsar_config import SETTINGS
from bus.port import Outgoing, Subscription
from bus.topics import model_topic
from tests.double.server import Provider
from tests.e2e.asking import ANSWER, QUESTION, ask, ask_in_stream
from tests.e2e.test_direct import Program
from tests.fixtures.fleet import Daemon, Fleet, site_on_postgres, site_on_pulsar, until

pytestmark = [pytest.mark.kills, pytest.mark.xdist_group("e2e-sigstop")]

# How long the worker stands still, at least; and the keep-alive of the broker in the short form.
SHORT, LONG = 8.0, 120.0
KEEP_ALIVE = "5"
FORMS = [
    pytest.param(("postgres", SHORT), marks=pytest.mark.long),
    pytest.param(("pulsar", SHORT), marks=pytest.mark.pulsar),
    pytest.param(("postgres", LONG), marks=[pytest.mark.long, pytest.mark.timeout(300)]),
    pytest.param(("pulsar", LONG), marks=[pytest.mark.long, pytest.mark.pulsar, pytest.mark.timeout(300)]),
]


@pytest.fixture(params=FORMS, ids=lambda form: f"{form[0]}-{form[1]:.0f}s")
def form(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest_asyncio.fixture
async def fleet(
    form: tuple[str, float],
    store_url: str,
    tmp_path: Path,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncIterator[Fleet]:
    """On a broker of the test's own; in the short form Pulsar looks after its consumers more often."""
    if form[0] == "postgres":
        site = await site_on_postgres(store_url)
    else:
        if form[1] == SHORT:
            monkeypatch.setitem(SETTINGS, "keepAliveIntervalSeconds", KEEP_ALIVE)
        broker: StandalonePulsar = request.getfixturevalue("own_pulsar")
        site = site_on_pulsar(store_url, broker.url, broker.admin_url)
    with Fleet(site, tmp_path) as fleet:
        yield fleet


async def test_what_a_stopped_worker_had_is_answered_by_another_and_once(
    fleet: Fleet, form: tuple[str, float], provider: Provider
) -> None:
    provider.delay = 1.5
    first, second = fleet.worker(API_URL=provider.url), fleet.worker(API_URL=provider.url)
    await fleet.start(fleet.coordinator(), first)
    bus, program = await fleet.bus(), Program()
    await program.start()
    results = await bus.subscribe(fleet.result_topic, f"reader-{uuid.uuid4().hex}", window=100)
    mine = {"request_id": uuid.uuid4().hex, "stream": False, "data": {"model": "x", "messages": QUESTION}}
    async with fleet.client() as client:
        asking = [asyncio.create_task(way(client, fleet.model)) for way in (ask, ask_in_stream)]
        publisher = await bus.publisher(model_topic(fleet.model))
        await publisher.publish([Outgoing(json.dumps({**mine, "endpoint": program.url}).encode())])
        await provider.call(2)
        first.send(signal.SIGSTOP)
        stopped_at = time.monotonic()
        await fleet.start(second)
        assert await asyncio.gather(*asking) == [ANSWER] * 2
        assert (await program.answer())["request_id"] == mine["request_id"]
        # The provider answered the stopped worker long ago: it finds the answers when it goes on.
        await asyncio.sleep(max(0.0, stopped_at + form[1] - time.monotonic()))
        first.send(signal.SIGCONT)
        assert await fates(results, 3) == {("abandoned", "completed"): 3}
        await until(lambda: idle(first), "the stopped worker has let go")
        assert await ask(client, fleet.model) == ANSWER
    assert len(provider.calls) == 7
    assert program._answers.empty()
    await program.close()
    await bus.close()


async def fates(results: Subscription, requests: int) -> dict[tuple[str, ...], int]:
    """How many requests met each set of outcomes, once every one of so many has two."""
    outcomes: dict[str, list[str]] = {}
    async with asyncio.timeout(60):
        while len(outcomes) < requests or any(len(each) < 2 for each in outcomes.values()):
            for delivery in await results.receive():
                event = json.loads(delivery.body)
                outcomes.setdefault(event["request_id"], []).append(event["outcome"])
                await results.ack([delivery])
    met = [tuple(sorted(each)) for each in outcomes.values()]
    return {each: met.count(each) for each in met}


async def idle(worker: Daemon) -> bool:
    async with aiohttp.ClientSession() as session, session.get(worker.url + "/metrics") as response:
        return "agentos_worker_busy_slots 0.0" in await response.text()
