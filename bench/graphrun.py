"""Task graphs through the HTTP API, from the first submission to the last end in the store."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import aiohttp
import msgspec

from bench.database import database
from bench.processes import Meter
from bench.shapes import Description
from bench.stage import Fleet, Stage
from core.errors import PartError

AT_ONCE = 8
RUN_SECONDS = 600.0
LOOK_SECONDS = 0.03
# Columns of the tables of CPU.
PARTS = ("coordinator", "worker", "broker", "postgres")


@dataclass(frozen=True, slots=True)
class GraphRun:
    """What a load of graphs came to. `cpu`: seconds by part, its processes together."""

    way: str
    tasks: list[int]
    nodes: int
    seconds: float
    cpu: dict[str, float]

    @property
    def rate(self) -> float:
        """Nodes a second."""
        return self.nodes / self.seconds

    def cpu_of(self, part: str) -> float:
        """CPU milliseconds for a node."""
        return self.cpu.get(part, 0.0) * 1000 / self.nodes


def run_graphs(on: Stage, started: Fleet, way: str, descriptions: Sequence[Description]) -> GraphRun:
    """Submits them to the fleet's coordinators in turn and waits for all. Raises `PartError`."""
    nodes = sum(len(each["nodes"]) for each in descriptions)
    bodies = [msgspec.json.encode(each) for each in descriptions]
    with Meter(on.pids() | started.pids()) as meter:
        tasks = asyncio.run(_submit(started.gateways, bodies))
        await_ends(on, started, tasks)
    must_be_whole(on, tasks, nodes)
    return GraphRun(way, tasks, nodes, meter.seconds, _by_part(meter.cpu))


def await_ends(on: Stage, started: Fleet, tasks: Sequence[int]) -> None:
    """Returns when none of them is open. Raises `PartError`."""
    deadline = time.monotonic() + RUN_SECONDS
    statement = "select count(*) from tasks where task_id = any(%s) and state = 'open'"
    with database(on) as ask:
        while left := ask(statement, list(tasks)):
            if time.monotonic() > deadline:
                raise PartError(f"{left} of {len(tasks)} tasks had not ended after {RUN_SECONDS:g} s")
            started.must_live()
            time.sleep(LOOK_SECONDS)


def must_be_whole(on: Stage, tasks: Sequence[int], nodes: int) -> None:
    """Every task completed, every node once in progress and called once. Raises `PartError`."""
    ours = list(tasks)
    with database(on) as ask:
        counts = {
            "completed tasks": ask(
                "select count(*) from tasks where task_id = any(%s) and state = 'completed'", ours
            ),
            "results": ask("select count(*) from progress where task_id = any(%s)", ours),
            "calls": ask("select count(*) from ledger where task_id = any(%s)", ours),
        }
    expected = {"completed tasks": len(ours), "results": nodes, "calls": nodes}
    if counts != expected:
        raise PartError(f"the fleet miscounted: {counts} instead of {expected}")


async def _submit(gateways: Sequence[str], bodies: Sequence[bytes]) -> list[int]:
    left = enumerate(bodies)
    timeout = aiohttp.ClientTimeout(total=RUN_SECONDS)
    async with aiohttp.ClientSession(timeout=timeout) as session:
        several = await asyncio.gather(*(_submitter(session, gateways, left) for _ in range(AT_ONCE)))
    return [task for each in several for task in each]


async def _submitter(
    session: aiohttp.ClientSession, gateways: Sequence[str], left: Iterator[tuple[int, bytes]]
) -> list[int]:
    return [await submit(session, gateways[number % len(gateways)], body) for number, body in left]


async def submit(session: aiohttp.ClientSession, gateway: str, body: bytes, *, key: str = "") -> int:
    """The task's number. `key`: makes a repeat the same task. Raises `PartError` where it is refused, aiohttp's
    `ClientError` where nobody answers."""
    headers = {"Content-Type": "application/json"} | ({"Idempotency-Key": key} if key else {})
    async with session.post(gateway + "/v1/tasks", data=body, headers=headers) as response:
        text = await response.read()
        if response.status >= 500:
            response.raise_for_status()
        if response.status not in (200, 202):
            raise PartError(f"a task was refused with {response.status}: {text[:300].decode(errors='replace')}")
    return int(msgspec.json.decode(text)["id"].removeprefix("task_"))


def _by_part(cpu: dict[str, float]) -> dict[str, float]:
    parts: dict[str, float] = {}
    for name, seconds in cpu.items():
        part = name.split("-")[0]
        parts[part] = parts.get(part, 0.0) + seconds
    return parts
