"""Fleets on both brokers: one for all tests of a module, or one for a single test that kills it."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg
import pytest
import pytest_asyncio

from tests.double.server import Provider
from tests.fixtures.fleet import OPEN, Counts, Fleet, Site, site_on_postgres, site_on_pulsar
from tests.fixtures.postgres import database_url

BUSES = ["postgres", pytest.param("pulsar", marks=pytest.mark.pulsar)]


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """Shows what the processes have written where a test fails."""
    outcome: Any = yield
    report = outcome.get_result()
    if report.failed:
        for fleet in OPEN:
            report.sections += [(f"log of {name}", log) for name, log in fleet.logs()]


@asynccontextmanager
async def _site(request: pytest.FixtureRequest, server: str, template: str) -> AsyncIterator[Site]:
    """Asks for the broker's fixture here, so that the other broker is not started."""
    name = "e" + uuid.uuid4().hex
    connection = await asyncpg.connect(server)
    try:
        await connection.execute(f"create database {name} template {template} strategy file_copy")
        url = database_url(server, name)
        if request.param == "postgres":
            yield await site_on_postgres(url)
        else:
            address = request.getfixturevalue("pulsar_address")
            yield site_on_pulsar(url, address["pulsar_url"], address["pulsar_admin_url"])
        await connection.execute(f"drop database {name} with (force)")
    finally:
        await connection.close()


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=BUSES)
async def site(request: pytest.FixtureRequest, postgres_server: str, store_template: str) -> AsyncIterator[Site]:
    """A store and a broker for the tests of a module."""
    async with _site(request, postgres_server, store_template) as site:
        yield site


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def module_provider() -> AsyncIterator[Provider]:
    """The provider double behind the workers of a module."""
    async with Provider() as double:
        yield double


@pytest.fixture
def upstream(module_provider: Provider) -> Iterator[Provider]:
    """The provider double, as new to each test."""
    module_provider.calls.clear()
    module_provider.key, module_provider.delay, module_provider.pace = "", 0.0, 0.0
    yield module_provider
    assert not module_provider._script, "the script was not played to its end"


@pytest_asyncio.fixture(loop_scope="module")
async def before(fleet: Fleet) -> Counts:
    """What the store held before the test, once the last answers of earlier tests are folded: nothing tells when."""
    counts = await fleet.counts()
    while True:
        await asyncio.sleep(0.5)
        seen, counts = counts, await fleet.counts()
        if seen == counts and not counts.outbox:
            return counts


@pytest_asyncio.fixture(loop_scope="function", params=BUSES)
async def own_fleet(
    request: pytest.FixtureRequest, postgres_server: str, store_template: str, tmp_path: Path
) -> AsyncIterator[Fleet]:
    """A fleet of the test's own, nothing started: its processes may be killed. The broker is shared."""
    async with _site(request, postgres_server, store_template) as site:
        with Fleet(site, tmp_path) as fleet:
            yield fleet
