"""A fleet with parts of its own: Postgres, a broker, the provider double, coordinators, workers."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from agentos.databases import make_database
from agentos.parts.postgres import EmbeddedPostgres
from agentos.parts.pulsar import StandalonePulsar
from agentos.parts.pulsar_home import fetch_home, find_home
from store.migrate import upgrade
from tests.chaos.parts import Broker, Part, Postgres, Served
from tests.double.book import Entry, from_json
from tests.fixtures.fleet import ROOT, Fleet, site_on_postgres, site_on_pulsar

COORDINATORS, WORKERS = 2, 3
# Of the provider: an answer takes so long, and this part of the calls fails.
DELAY_SECONDS, FAILS = 0.1, 0.05


@dataclass
class ChaosSite:
    """All that is there, started."""

    fleet: Fleet
    database_url: str
    provider_url: str
    coordinators: list[Served]
    workers: list[Served]
    servers: list[Part]

    @property
    def parts(self) -> dict[str, Part]:
        """By name."""
        return {part.name: part for part in (*self.coordinators, *self.workers, *self.servers)}

    def urls(self) -> list[str]:
        """Where coordinators serve now."""
        return [part.url for part in self.coordinators if part.url]

    async def book(self) -> list[Entry]:
        """The provider's."""
        async with aiohttp.ClientSession() as session, session.get(self.provider_url + "/book") as response:
            return from_json(await response.read())


@asynccontextmanager
async def chaos_site(bus: str, seed: int, directory: Path) -> AsyncIterator[ChaosSite]:
    """Everything is ended with it. `directory`: for data and logs; its path is short, since sockets are in it."""
    async with AsyncExitStack() as stack:
        postgres = EmbeddedPostgres(directory / "data")
        stack.push_async_callback(asyncio.to_thread, postgres.stop)
        url = await make_database(await asyncio.to_thread(postgres.start))
        await asyncio.to_thread(upgrade, url)
        servers: list[Part] = [Postgres(postgres)]
        if bus == "pulsar":
            home = find_home() or fetch_home(sys.stderr.write)
            pulsar = StandalonePulsar(home, directory / "pulsar")
            stack.push_async_callback(asyncio.to_thread, pulsar.stop)
            await asyncio.to_thread(pulsar.start)
            servers.append(Broker(pulsar))
            fleet_site = site_on_pulsar(url, pulsar.url, pulsar.admin_url)
        else:
            fleet_site = await site_on_postgres(url)
        provider = stack.enter_context(_double(seed))
        fleet = stack.enter_context(Fleet(fleet_site, directory))
        site = _served(fleet, url, provider, servers)
        for part in (*site.coordinators, *site.workers):
            await part.start()
        for part in (*site.coordinators, *site.workers):
            await part.ready()
        yield site


def _served(fleet: Fleet, database_url: str, provider_url: str, servers: list[Part]) -> ChaosSite:
    # One delivery: a refusal is told at once, so that nodes are tried again, not messages.
    worker = {"API_URL": provider_url, "MAX_PROCESS_NUM": "8", "AGENTOS_MAX_ATTEMPTS": "1"}
    coordinators = [Served(f"coordinator-{n + 1}", lambda _life: fleet.coordinator()) for n in range(COORDINATORS)]
    workers = [Served(f"worker-{n + 1}", lambda life: fleet.worker(API_KEY=life, **worker)) for n in range(WORKERS)]
    return ChaosSite(fleet, database_url, provider_url, coordinators, workers, servers)


@contextmanager
def _double(seed: int) -> Iterator[str]:
    """The address of the provider double, a process of its own."""
    options = {"seed": seed, "delay": DELAY_SECONDS, "fails": FAILS}
    command = [
        sys.executable,
        "-m",
        "tests.double",
        "--booked",
        *(f"--{name}={value}" for name, value in options.items()),
    ]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        try:
            yield json.loads(process.stdout.readline())["url"]
        finally:
            process.kill()
