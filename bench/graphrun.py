"""Task graphs through the HTTP API, from the first submission to the last end in the store."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from bench import report
from bench.database import database
from bench.processes import Meter
from bench.shapes import Description
from bench.stage import Fleet, Stage
from core.errors import PartError
from workload.client import Client

AT_ONCE = 8
RUN_SECONDS = 600.0
# The end is read from the store: looking seldom costs no precision, and looking often costs what is measured.
LOOK_SECONDS = 0.25
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
    """Submits them to the fleet's coordinators in turn and waits for all. Raises `PartError`, the client's errors."""
    nodes = sum(len(each["nodes"]) for each in descriptions)
    began = time.time()
    with Meter(on.pids() | started.pids()) as meter:
        tasks = asyncio.run(_submit(started.gateways, descriptions))
        ended = await_ends(on, started, tasks)
    must_be_whole(on, tasks, nodes)
    return GraphRun(way, tasks, nodes, ended - began, _by_part(meter.cpu))


def await_ends(on: Stage, started: Fleet, tasks: Sequence[int]) -> float:
    """Waits until none of them is open; when the last one ended, as Unix time. Raises `PartError`."""
    deadline = time.monotonic() + RUN_SECONDS
    statement = "select count(*) from tasks where task_id = any(%s) and state = 'open'"
    with database(on) as ask:
        while left := ask(statement, list(tasks)):
            if time.monotonic() > deadline:
                raise PartError(f"{left} of {len(tasks)} tasks had not ended after {RUN_SECONDS:g} s")
            started.must_live()
            time.sleep(LOOK_SECONDS)
        return float(
            ask("select extract(epoch from max(finished_at)) from tasks where task_id = any(%s)", list(tasks))
        )


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


async def _submit(gateways: Sequence[str], descriptions: Sequence[Description]) -> list[int]:
    left = iter(descriptions)
    several = await asyncio.gather(*(_submitter(gateways[each % len(gateways)], left) for each in range(AT_ONCE)))
    return [task for each in several for task in each]


async def _submitter(gateway: str, left: Iterator[Description]) -> list[int]:
    async with Client(gateway) as client:
        return [task_number((await client.submit(each)).id) for each in left]


def task_number(task: str) -> int:
    """The number in the store of a task's id."""
    return int(task.removeprefix("task_"))


def _by_part(cpu: dict[str, float]) -> dict[str, float]:
    parts: dict[str, float] = {}
    for name, seconds in cpu.items():
        part = name.split("-")[0]
        parts[part] = parts.get(part, 0.0) + seconds
    return parts


def rates_table(head: str, runs: Mapping[str, Sequence[GraphRun]], of: str, whole: float) -> str:
    """A line for each way: medians of its runs. `of`: what the rate `whole`, which they are compared with, is."""
    rows = [
        [
            way,
            each[0].nodes,
            median_rate(each),
            f"{min(run.rate for run in each):,.0f} to {max(run.rate for run in each):,.0f}",
            f"{median_rate(each) / whole:.2f}",
            *(f"{statistics.median(run.cpu_of(part) for run in each):.3f}" for part in PARTS),
        ]
        for way, each in runs.items()
    ]
    return report.table([head, "nodes", "nodes/s", "least to most", of, *PARTS], rows)


def median_rate(runs: Sequence[GraphRun]) -> float:
    """Nodes a second."""
    return statistics.median(each.rate for each in runs)
