"""`python -m bench limits`: twice the load that a provider permits, and what becomes of it.

The provider is a process that enforces requests and tokens a minute and counts what it refuses. The workers know of
its limits by its headers alone.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from aiohttp import ClientSession

from bench import report
from bench.processes import running
from bench.stage import BusName, Stage, fleet, say, stage
from bus import messages
from bus.connect import connect
from bus.messages import RequestMessage
from bus.port import Outgoing, Publisher
from bus.topics import model_topic
from core.errors import PartError

READY_SECONDS = 60.0
LATENCY_SECONDS = 0.5
# Until the first burst is over and the workers know of each other.
WARM_SECONDS = 20.0
TICK_SECONDS = 0.1
KEY = "bench-key"
MAX_TOKENS = 10
PROMPTS = ("one two three four five", " ".join(["word"] * 15))  # 10 tokens on average
TOKENS = MAX_TOKENS + 10
LEAST_USED = 0.95
MOST_REFUSED = 0.01


class Limit(NamedTuple):
    """A provider's limits, a minute."""

    name: str
    rpm: int
    tpm: int

    @property
    def rate(self) -> float:
        """Calls a second that they permit."""
        return min(self.rpm, self.tpm / TOKENS) / 60


LIMITS = (Limit("requests", 2400, 96_000), Limit("tokens", 6000, 48_000))


@dataclass(frozen=True, slots=True)
class Line:
    """What one run came to. `used`: the part of the permitted rate; more, from what a minute without calls has
    gathered, counts as all. `refused`: the part of all calls, those of the start included.
    """

    bus: BusName
    limit: str
    workers: int
    permitted_rate: float
    used: float
    refused: float
    calls: int

    @property
    def met(self) -> bool:
        """The goal."""
        return self.used >= LEAST_USED and self.refused <= MOST_REFUSED


def run(buses: Sequence[BusName], *, workers: Sequence[int], seconds: float, file: Path | None) -> None:
    """Measures, prints, writes. Raises `PartError`."""
    lines: list[Line] = []
    with stage(pulsar="pulsar" in buses) as on:
        for bus, count, limit in itertools.product(buses, workers, LIMITS):
            say(f"{bus}: {count} workers, {limit.name}")
            with _provider(on, limit) as url, _workers(on, bus, count, url) as model:
                lines.append(asyncio.run(_measure(on, bus, model, url, limit, count, seconds)))
    _show(lines)
    report.write("limits", {"lines": [asdict(each) for each in lines]}, file)


@contextmanager
def _provider(on: Stage, limit: Limit) -> Iterator[str]:
    """The provider's address."""
    arguments = [
        "-m",
        "tests.double",
        "--rpm",
        str(limit.rpm),
        "--tpm",
        str(limit.tpm),
        "--delay",
        str(LATENCY_SECONDS),
    ]
    with running("provider", arguments, os.environ, on.directory) as process:
        yield str(process.hear(READY_SECONDS)["url"])


@contextmanager
def _workers(on: Stage, bus: BusName, count: int, url: str) -> Iterator[str]:
    """Their model."""
    with fleet(on, bus, workers=count, node_type="remote", api_url=url, api_key=KEY) as running_fleet:
        yield running_fleet.model
        running_fleet.must_live()


async def _measure(on: Stage, bus: BusName, model: str, url: str, limit: Limit, workers: int, seconds: float) -> Line:
    connection = await connect(**on.addresses(bus))
    offering = asyncio.create_task(_offer(await connection.publisher(model_topic(model)), model, 2 * limit.rate))
    try:
        async with ClientSession() as session:
            await asyncio.sleep(min(WARM_SECONDS, seconds))
            before, began = await _account(session, url), time.monotonic()
            await asyncio.sleep(seconds)
            after, ended = await _account(session, url), time.monotonic()
    finally:
        offering.cancel()
        await asyncio.wait([offering])
        await connection.close()
    what, permitted = ("admitted", limit.rpm / 60) if limit.name == "requests" else ("tokens", limit.tpm / 60)
    used = min(1.0, (after[what] - before[what]) / (permitted * (ended - began)))
    calls = after["admitted"] + after["refused"]
    return Line(bus, limit.name, workers, limit.rate, used, after["refused"] / calls, calls)


async def _offer(publisher: Publisher, model: str, rate: float) -> None:
    """Publishes so many requests a second, for ever."""
    prompts = itertools.cycle(PROMPTS)
    began, sent = time.monotonic(), 0
    while True:
        due = int((time.monotonic() - began) * rate)
        await publisher.publish([_request(model, next(prompts)) for _ in range(due - sent)])
        sent = due
        await asyncio.sleep(TICK_SECONDS)


def _request(model: str, prompt: str) -> Outgoing:
    body = {"model": model, "messages": [{"role": "user", "content": prompt}], "max_tokens": MAX_TOKENS}
    request = RequestMessage(request_id=uuid.uuid4().hex, data=msgspec.Raw(msgspec.json.encode(body)))
    return Outgoing(messages.encode(request))


async def _account(session: ClientSession, url: str) -> dict[str, Any]:
    async with session.get(url + "/accounts") as response:
        accounts: dict[str, dict[str, Any]] = await response.json()
    if KEY not in accounts:
        raise PartError("the workers have not called the provider")
    return accounts[KEY]


def _show(lines: Sequence[Line]) -> None:
    head = ["bus, limit", "workers", "permitted/s", "used %", "refused %", "calls"]
    rows = [
        [
            f"{each.bus}, {each.limit}",
            each.workers,
            each.permitted_rate,
            f"{each.used:.1%}"[:-1],
            f"{each.refused:.2%}"[:-1],
            each.calls,
        ]
        for each in lines
    ]
    report.show(report.table(head, rows))
    wanted = f"at least {LEAST_USED:.0%} used and at most {MOST_REFUSED:.0%} refused, under twice the permitted load"
    report.show(report.goal(wanted, met=all(each.met for each in lines)))
