"""`python -m bench coordinators`: nodes a second with one, two and four coordinators."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from bench import report
from bench.graphrun import GraphRun, median_rate, rates_table, run_graphs
from bench.graphs import BACKEND
from bench.shapes import bag, diamond
from bench.stage import BusName, Stage, fleet, say, stage

WARM_UP = 100
# Middle nodes of a task, and its nodes in all.
WIDTH = 8
TASK_NODES = WIDTH + 2


def run(
    bus: BusName, *, coordinators: Sequence[int], tasks: int, workers: int, rounds: int, file: Path | None
) -> None:
    """Measures, prints, writes. Raises `PartError`."""
    runs: dict[int, list[GraphRun]] = {count: [] for count in coordinators}
    with stage(pulsar=bus == "pulsar") as on:
        for number in range(1, rounds + 1):
            for count in coordinators:
                runs[count].append(_round(on, bus, count, tasks, workers))
                say(f"round {number} of {rounds}, {count} coordinators: {runs[count][-1].rate:,.0f} nodes/s")
    _print(bus, runs, tasks, workers)
    written = [{"coordinators": count, **asdict(each)} for count, several in runs.items() for each in several]
    report.write("coordinators", {"bus": bus, "tasks": tasks, "workers": workers, "runs": written}, file)


def _round(on: Stage, bus: BusName, coordinators: int, tasks: int, workers: int) -> GraphRun:
    with fleet(on, bus, workers=workers, coordinators=coordinators, **BACKEND) as started:
        run_graphs(on, started, "warm-up", [bag(started.model, WARM_UP)] * coordinators)
        return run_graphs(on, started, f"{coordinators}", [diamond(started.model, WIDTH)] * tasks)


def _print(bus: BusName, runs: dict[int, list[GraphRun]], tasks: int, workers: int) -> None:
    report.show(
        f"{tasks:,} diamonds of {TASK_NODES} no-op nodes on {bus}, submitted to the coordinators in turn; {workers} "
        "worker(s); medians; CPU in ms a node, all processes of a kind together\n"
    )
    of = {f"{count}": several for count, several in runs.items()}
    report.show(rates_table("coordinators", of, "of the first", median_rate(next(iter(runs.values())))))
