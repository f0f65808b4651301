"""`python -m bench order`: agent tasks at a high load, shortest remaining first against first come.

Each seed's tasks come at the same times with the same durations of their calls under both orders.
"""

from __future__ import annotations

import asyncio
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bench import report
from bench.graphrun import RUN_SECONDS, must_be_whole, run_graphs, task_number
from bench.shapes import bag
from bench.stage import BusName, Fleet, Stage, fleet, say, stage
from examples.agents.codegen import TASKS
from examples.agents.service import SPREAD, Served, Visit, mean_of, serve, visits
from policy.order import Order
from workload.client import Client

WARM_UP = 50
SLOTS = 8
ORDERS: tuple[Order, Order] = ("fcfs", "srtf")
NAMES: dict[Order, str] = {"fcfs": "first come", "srtf": "shortest remaining"}
# First come 58.1 s, shortest remaining 51.9 s (design of the AgentOS seed).
PUBLISHED_RATIO = 51.9 / 58.1


@dataclass(frozen=True, slots=True)
class OrderRun:
    """Latencies in seconds: `mean` of all tasks, `means` of each kind."""

    seed: int
    order: Order
    mean: float
    means: list[float]
    latencies: list[float]


def run(bus: BusName, *, seeds: int, tasks: int, load: float, call_seconds: float, file: Path | None) -> None:
    """Measures, prints, writes. Raises `PartError`, the client's errors."""
    runs: list[OrderRun] = []
    rate = load * SLOTS / (call_seconds * statistics.fmean(each.shape.calls for each in TASKS))
    with stage(pulsar=bus == "pulsar") as on:
        for seed in range(1, seeds + 1):
            # What the machine does meanwhile falls on both.
            for order in ORDERS if seed % 2 else reversed(ORDERS):
                with fleet(on, bus, order=order, node_type="mock", max_process_num=SLOTS) as started:
                    coming = visits(started.model, rate=rate, count=tasks, call_seconds=call_seconds, seed=seed)
                    runs.append(_run(on, started, order, seed, coming))
                say(f"seed {seed} of {seeds}, {NAMES[order]}: mean latency {runs[-1].mean:.2f} s")
    given = {"bus": bus, "seeds": seeds, "tasks": tasks, "load": load, "call_seconds": call_seconds}
    _print(runs, given)
    report.write("order", {**given, "runs": [asdict(each) for each in runs]}, file)


def _run(on: Stage, started: Fleet, order: Order, seed: int, coming: Sequence[Visit]) -> OrderRun:
    run_graphs(on, started, "warm-up", [bag(started.model, WARM_UP)])
    served = asyncio.run(_play(started, coming))
    must_be_whole(
        on, [task_number(each.task) for each in served], sum(len(each.description["nodes"]) for each in coming)
    )
    latencies = [each.seconds for each in served]
    means = [mean_of(kind, coming, served) for kind in range(min(len(TASKS), len(coming)))]
    return OrderRun(seed, order, statistics.fmean(latencies), means, latencies)


async def _play(started: Fleet, coming: Sequence[Visit]) -> list[Served]:
    async with asyncio.timeout(RUN_SECONDS + coming[-1].at), Client(started.gateways[0]) as client:
        began = asyncio.get_running_loop().time()
        return await asyncio.gather(*(serve(client, began, each) for each in coming))


def ratios(runs: Sequence[OrderRun]) -> list[float]:
    """Shortest remaining's mean latency, divided by first come's of the same seed."""
    means = {(each.seed, each.order): each.mean for each in runs}
    return [means[seed, "srtf"] / means[seed, "fcfs"] for seed in sorted({each.seed for each in runs})]


def _print(runs: Sequence[OrderRun], given: dict[str, Any]) -> None:
    report.show(
        f"Five agent tasks by Poisson arrivals on {given['bus']}, load {given['load']:g} of {SLOTS} slots, calls of "
        f"{given['call_seconds']:g} s (lognormal, sigma {SPREAD:g}), {given['tasks']} tasks a seed; seconds from "
        "arrival to end, means\n"
    )
    head = ["order", "seeds", "mean s", "± over seeds", "longest s", *(f"{each.shape.calls} calls" for each in TASKS)]
    report.show(report.table(head, [_row(order, [each for each in runs if each.order == order]) for order in ORDERS]))
    found = ratios(runs)
    report.show(
        f"\nratio of shortest remaining to first come, seed by seed: mean {statistics.fmean(found):.3f}, "
        f"± {_spread(found):.3f}, {min(found):.3f} to {max(found):.3f} (published: {PUBLISHED_RATIO:.3f})"
    )
    report.show(report.goal("shortest remaining first is quicker in the mean", met=statistics.fmean(found) < 1))


def _row(order: Order, runs: Sequence[OrderRun]) -> list[object]:
    means = [each.mean for each in runs]
    kinds = [f"{statistics.fmean(each):.2f}" for each in zip(*(run.means for run in runs), strict=True)]
    longest = statistics.fmean(max(each.latencies) for each in runs)
    mean = f"{statistics.fmean(means):.2f}"
    return [NAMES[order], len(runs), mean, f"{_spread(means):.2f}", f"{longest:.2f}", *kinds]


def _spread(figures: Sequence[float]) -> float:
    """The standard deviation; 0 of one."""
    return statistics.stdev(figures) if len(figures) > 1 else 0.0
