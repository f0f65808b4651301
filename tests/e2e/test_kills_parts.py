"""SIGKILL of the broker and of Postgres with requests in flight.

What must hold, whenever it happens: every request ends answered, or failed with a code; every task that was
committed has exactly one result; every call that the provider saw has exactly one row in the ledger, since no worker
was killed that could not tell; and afterwards everything works as before.
"""

from __future__ import annotations

import asyncio
import tempfile
import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import openai
import psutil
import pytest
import pytest_asyncio

from agentos.parts.postgres import EmbeddedPostgres
from agentos.parts.pulsar import StandalonePulsar
from bus.topics import model_subscription, model_topic
from store.migrate import upgrade
from tests.double.server import Provider
from tests.e2e.asking import ask_many, codes
from tests.e2e.conftest import BUSES
from tests.e2e.later import pulsar_later
from tests.fixtures.fleet import Counts, Fleet, site_on_postgres, site_on_pulsar, until
from tests.fixtures.postgres import database_url

pytestmark = [pytest.mark.kills, pytest.mark.timeout(200), pytest.mark.xdist_group("e2e-kills-parts")]

MANY = 40
# A message whose publication failed is published again when its lease has run out.
LONG = 90.0


async def start(fleet: Fleet, provider: Provider) -> None:
    worker = {"API_URL": provider.url, "MAX_PROCESS_NUM": "10"}
    await fleet.start(fleet.coordinator(AGENTOS_REQUEST_TIMEOUT_SECONDS="80"), fleet.worker(**worker))


async def check_the_books(fleet: Fleet, provider: Provider, before: Counts) -> None:
    async with fleet.client() as client:
        await until(lambda: works(client, fleet), "the fleet works as before", seconds=LONG)

    async def complete() -> Counts | None:
        added = (await fleet.counts()).since(before)
        done = added.progress == added.tasks and added.ledger == len(provider.calls) and not added.outbox
        return added if done else None

    try:
        await until(complete, "every task has its result, every call its row", seconds=LONG)
    except AssertionError as error:
        raise AssertionError(f"{(await fleet.counts()).since(before)}, {len(provider.calls)} calls") from error


async def works(client: openai.AsyncOpenAI, fleet: Fleet) -> bool:
    return not codes(await ask_many(client, fleet, 1))


@pytest.mark.long
@pytest.mark.pulsar
async def test_every_request_ends_by_name_although_the_broker_is_killed(
    own_pulsar: StandalonePulsar, store_url: str, provider: Provider, tmp_path: Path
) -> None:
    provider.delay = 0.3
    with Fleet(site_on_pulsar(store_url, own_pulsar.url, own_pulsar.admin_url), tmp_path) as fleet:
        await start(fleet, provider)
        before = await fleet.counts()
        async with fleet.client() as client:
            asking = asyncio.create_task(ask_many(client, fleet, MANY))
            await provider.call(MANY // 2)
            own_pulsar.kill()
            await asyncio.to_thread(own_pulsar.start)
            codes(await asking)
        await check_the_books(fleet, provider, before)


@pytest.mark.pulsar
async def test_acked_work_is_not_paid_for_again_although_the_broker_is_killed(
    own_pulsar: StandalonePulsar, store_url: str, provider: Provider, tmp_path: Path
) -> None:
    with Fleet(site_on_pulsar(store_url, own_pulsar.url, own_pulsar.admin_url), tmp_path) as fleet:
        workers = [fleet.worker(API_URL=provider.url) for _ in range(2)]
        await fleet.start(fleet.coordinator(), *workers)
        before = await fleet.counts()
        async with fleet.client() as client:
            answered = [await ask_many(client, fleet, 50) for _ in range(8)]
        assert codes(end for ends in answered for end in ends) == []
        await fleet.folded(progress=400, since=before)
        own_pulsar.kill()
        await asyncio.to_thread(own_pulsar.start)
        async with fleet.client() as client:
            await until(lambda: works(client, fleet), "the fleet works as before", seconds=LONG)
        await until(lambda: nothing_waits(fleet), "what came again is settled", seconds=LONG)
        asked = (await fleet.counts()).since(before).tasks
        assert len(provider.calls) - asked <= 4, f"{len(provider.calls)} calls for {asked} requests"


async def nothing_waits(fleet: Fleet) -> bool:
    bus = await fleet.bus()
    backlog = await bus.backlog(model_topic(fleet.model), model_subscription(fleet.model))
    await bus.close()
    return not (backlog.ready or backlog.delayed or backlog.in_flight)


class OwnPostgres:
    """A server of the test's own."""

    def __init__(self, directory: Path) -> None:
        self.server = EmbeddedPostgres(directory)

    async def restart_killed(self) -> None:
        """SIGKILL, and a start as soon as its processes have gone."""
        server = psutil.Process(self.server.pid)
        family = [server, *server.children()]
        server.kill()
        _, left = await asyncio.to_thread(psutil.wait_procs, family, timeout=30)
        assert not left
        await asyncio.to_thread(self.server.start)


@pytest_asyncio.fixture
async def own_postgres() -> AsyncIterator[OwnPostgres]:
    with tempfile.TemporaryDirectory(prefix="agentos-postgres-") as directory:
        own = OwnPostgres(Path(directory) / "data")
        await asyncio.to_thread(own.server.start)
        yield own
        await asyncio.to_thread(own.server.stop)


@pytest_asyncio.fixture(params=BUSES)
async def fleet_on_own_postgres(
    request: pytest.FixtureRequest, own_postgres: OwnPostgres, tmp_path: Path
) -> AsyncIterator[Fleet]:
    server = await asyncio.to_thread(own_postgres.server.start)
    name = "k" + uuid.uuid4().hex
    connection = await asyncpg.connect(server)
    await connection.execute(f"create database {name}")
    await connection.close()
    url = database_url(server, name)
    await asyncio.to_thread(upgrade, url)
    if request.param == "postgres":
        site = await site_on_postgres(url)
    else:
        address = request.getfixturevalue("pulsar_address")
        site = site_on_pulsar(url, address["pulsar_url"], address["pulsar_admin_url"])
    with Fleet(site, tmp_path) as fleet:
        yield fleet


@pulsar_later("fleet_on_own_postgres")
async def test_every_request_ends_by_name_although_postgres_is_killed(
    fleet_on_own_postgres: Fleet, own_postgres: OwnPostgres, provider: Provider
) -> None:
    fleet = fleet_on_own_postgres
    provider.delay = 0.3
    await start(fleet, provider)
    before = await fleet.counts()
    async with fleet.client() as client:
        asking = asyncio.create_task(ask_many(client, fleet, MANY))
        await provider.call(MANY // 2)
        killing = asyncio.create_task(own_postgres.restart_killed())
        codes(await ask_many(client, fleet, MANY))
        await killing
        codes(await asking)
    await check_the_books(fleet, provider, before)
