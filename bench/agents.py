"""`python -m bench agents`: five agent tasks by Poisson arrivals, undisturbed, then while coordinators are killed.

The same tasks come at the same times with the same durations of their calls in both runs.
"""

from __future__ import annotations

import asyncio
import itertools
import math
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from agentos.readiness import wait_until_ready
from bench import report
from bench.database import database
from bench.graphrun import RUN_SECONDS, run_graphs, task_number
from bench.shapes import bag
from bench.stage import BusName, Fleet, Stage, fleet, say, stage
from examples.agents.codegen import TASKS
from examples.agents.service import SPREAD, Served, Visit, mean_of, serve, visits
from workload.client import Client

WARM_UP = 50
COORDINATORS = 2
WORKERS = 2
SLOTS = 8
LOAD = 0.5
GOAL_RATIO = 1.1
PUBLISHED_RATIO = 101.5 / 58.9


@dataclass(frozen=True, slots=True)
class AgentRun:
    """Latencies in seconds: `mean` of all tasks, `means` of each kind. `calls`: in the ledger, beside `nodes`."""

    way: str
    kills: int
    mean: float
    means: list[float]
    latencies: list[float]
    nodes: int
    calls: int


def run(bus: BusName, *, seconds: float, every: float, call_seconds: float, seed: int, file: Path | None) -> None:
    """Measures, prints, writes. Raises `PartError`."""
    with stage(pulsar=bus == "pulsar") as on:
        runs = [_run(on, bus, seconds, kill_every, call_seconds, seed) for kill_every in (None, every)]
    _print(bus, runs, every, call_seconds)
    given = {"bus": bus, "seconds": seconds, "every": every, "call_seconds": call_seconds, "seed": seed}
    report.write("agents", {**given, "runs": [asdict(each) for each in runs]}, file)


def _visits(model: str, seconds: float, call_seconds: float, seed: int) -> list[Visit]:
    """What comes within about `seconds`, at least one task of each kind, at half of what the workers can do."""
    rate = LOAD * WORKERS * SLOTS / (call_seconds * statistics.fmean(each.shape.calls for each in TASKS))
    return visits(model, rate=rate, count=max(len(TASKS), int(rate * seconds)), call_seconds=call_seconds, seed=seed)


def _run(on: Stage, bus: BusName, seconds: float, every: float | None, call_seconds: float, seed: int) -> AgentRun:
    way = f"a coordinator killed every {every:g} s" if every else "undisturbed"
    backend: dict[str, Any] = {"node_type": "mock", "max_process_num": SLOTS}
    with fleet(on, bus, workers=WORKERS, coordinators=COORDINATORS, **backend) as started:
        run_graphs(on, started, "warm-up", [bag(started.model, WARM_UP)] * COORDINATORS)
        coming = _visits(started.model, seconds, call_seconds, seed)
        say(f"{way}: {len(coming)} tasks")
        served, kills = asyncio.run(_play(started, coming, every))
    with database(on) as ask:
        calls = ask(
            "select count(*) from ledger where task_id = any(%s)", [task_number(each.task) for each in served]
        )
    done = AgentRun(
        way,
        kills,
        mean=statistics.fmean(each.seconds for each in served),
        means=[mean_of(kind, coming, served) for kind in range(len(TASKS))],
        latencies=[each.seconds for each in served],
        nodes=sum(len(each.description["nodes"]) for each in coming),
        calls=calls,
    )
    say(f"{way}: mean latency {done.mean:.2f} s, {calls} calls for {done.nodes} nodes, {kills} kills")
    return done


async def _play(started: Fleet, coming: Sequence[Visit], every: float | None) -> tuple[list[Served], int]:
    """What came of each, and how many kills there were."""
    killed: list[int] = []
    async with asyncio.timeout(RUN_SECONDS + coming[-1].at):
        serving = asyncio.ensure_future(_serve(started, coming))
        killing = asyncio.ensure_future(_kill(started, every or math.inf, killed))
        await asyncio.wait([serving, killing], return_when=asyncio.FIRST_COMPLETED)
        if killing.done():
            killing.result()
        killing.cancel()
        return serving.result(), len(killed)


async def _serve(started: Fleet, coming: Sequence[Visit]) -> list[Served]:
    """Two clients, which know all gateways and begin with another one each, submit in turn."""
    one, other = ",".join(started.gateways), ",".join(reversed(started.gateways))
    began = asyncio.get_running_loop().time()
    async with Client(one, patience=RUN_SECONDS) as first, Client(other, patience=RUN_SECONDS) as second:
        clients = itertools.cycle((first, second))
        return await asyncio.gather(*(serve(next(clients), began, each) for each in coming))


async def _kill(started: Fleet, every: float, killed: list[int]) -> None:
    """Kills the coordinators in turn, for ever, but never the last one that serves."""
    while True:
        await asyncio.sleep(every)
        number = len(killed) % COORDINATORS
        for gateway in started.gateways:
            await wait_until_ready(gateway, [started.model])
        killed.append(number)
        await asyncio.to_thread(started.kill_coordinator, number)


def _print(bus: BusName, runs: Sequence[AgentRun], every: float, call_seconds: float) -> None:
    undisturbed, disturbed = runs
    report.show(
        f"Five agent tasks by Poisson arrivals on {bus}: {COORDINATORS} coordinators, {WORKERS} workers of {SLOTS} "
        f"slots, load {LOAD:g}, calls of {call_seconds:g} s (lognormal, sigma {SPREAD:g}); seconds from arrival to "
        "end\n"
    )
    head = ["run", "tasks", "kills", "mean s", *(f"{each.shape.calls} calls" for each in TASKS), "calls / nodes"]
    rows = [
        [
            each.way,
            len(each.latencies),
            each.kills,
            f"{each.mean:.2f}",
            *(f"{mean:.2f}" for mean in each.means),
            f"{each.calls} / {each.nodes}",
        ]
        for each in runs
    ]
    report.show(report.table(head, rows) + "\n")
    ratio = disturbed.mean / undisturbed.mean
    wanted = f"with a coordinator killed every {every:g} s at most {GOAL_RATIO:g} times the undisturbed mean latency"
    report.show(report.goal(f"{wanted} ({ratio:.3f}; published: {PUBLISHED_RATIO:.2f})", met=ratio <= GOAL_RATIO))
