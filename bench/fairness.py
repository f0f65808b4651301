"""`python -m bench fairness`: a user asks while another has very many nodes in the queue, beside an idle fleet."""

from __future__ import annotations

import asyncio
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bench import report
from bench.graphrun import run_graphs
from bench.shapes import Description, bag
from bench.stage import BusName, Fleet, fleet, say, stage
from workload.client import Client, Task

WARM_UP = 50
SLOTS = 8
WORKERS = 2
# Nodes of one of the busy user's tasks.
TASK_NODES = 10_000
# The busy user's nodes are on their way before anybody else asks.
BUSY_SECONDS = 5.0
ASK_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class Asked:
    """Seconds from each question to its answer. `waiting`: the other user's nodes without a result, at the end."""

    way: str
    waiting: int
    latencies: list[float]


def run(bus: BusName, *, nodes: int, asks: int, call_seconds: float, file: Path | None) -> None:
    """Measures, prints, writes. Raises `PartError`, the client's errors."""
    backend: dict[str, Any] = {"node_type": "mock", "max_process_num": SLOTS, "mock_delay_seconds": call_seconds}
    with stage(pulsar=bus == "pulsar") as on, fleet(on, bus, workers=WORKERS, **backend) as started:
        run_graphs(on, started, "warm-up", [bag(started.model, WARM_UP)])
        found = asyncio.run(_measure(started, nodes, asks))
    given = {"bus": bus, "nodes": nodes, "asks": asks, "call_seconds": call_seconds}
    _print(found, given)
    report.write("fairness", {**given, "runs": [asdict(each) for each in found]}, file)


async def _measure(started: Fleet, nodes: int, asks: int) -> list[Asked]:
    """Idle, then beside the busy user, whose tasks are cancelled in the end."""
    async with Client(started.gateways[0]) as client:
        idle = Asked("idle fleet", 0, await _ask(client, started, "first", asks))
        say(f"idle: p50 {_milliseconds(idle.latencies):.0f} ms")
        busy = await _submit(client, started, nodes)
        say(f"{nodes:,} nodes of another user are queued")
        await asyncio.sleep(BUSY_SECONDS)
        latencies = await _ask(client, started, "second", asks)
        waiting = [(await task.cancel())["progress"] for task in busy]
        left = sum(each["total"] - each["completed"] for each in waiting)
        return [idle, Asked(f"beside {nodes:,} nodes of another", left, latencies)]


async def _submit(client: Client, started: Fleet, nodes: int) -> list[Task]:
    counts = [min(TASK_NODES, nodes - begun) for begun in range(0, nodes, TASK_NODES)]
    return [await client.submit({**bag(started.model, count), "user": "busy"}) for count in counts]


async def _ask(client: Client, started: Fleet, user: str, asks: int) -> list[float]:
    """One after the other: a task of one node each. A new user: the first of its questions is its very first."""
    question: Description = {**bag(started.model, 1), "user": user}
    loop = asyncio.get_running_loop()
    latencies = []
    for _ in range(asks):
        began = loop.time()
        async with asyncio.timeout(ASK_SECONDS):
            await (await client.submit(question)).ended()
        latencies.append(loop.time() - began)
    return latencies


def _milliseconds(latencies: Sequence[float]) -> float:
    return 1000 * statistics.median(latencies)


def _print(found: Sequence[Asked], given: dict[str, Any]) -> None:
    report.show(
        f"A user's answers on {given['bus']}, {WORKERS} workers of {SLOTS} slots, calls of "
        f"{given['call_seconds']:g} s; "
        "from submitting a task of one node to the news of its end\n"
    )
    rows = [
        [
            each.way,
            each.waiting,
            len(each.latencies),
            1000 * each.latencies[0],
            _milliseconds(each.latencies),
            1000 * max(each.latencies),
        ]
        for each in found
    ]
    head = ["way", "left of the other's", "answers", "first ms", "p50 ms", "longest ms"]
    report.show(report.table(head, rows) + "\n")
    idle, beside = found
    alone = given["nodes"] * given["call_seconds"] / (WORKERS * SLOTS)
    report.show(
        f"the first answer: {beside.latencies[0] / idle.latencies[0]:.1f} times that on the idle fleet; first come "
        f"first served would have it wait for about {alone:,.0f} s"
    )
