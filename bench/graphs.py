"""`python -m bench graphs`: no-op nodes a second, for the four structures of the synthetic application."""

from __future__ import annotations

import signal
import statistics
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bench import report
from bench.fleet import PREFETCH, SLOTS, fleet_round
from bench.graphrun import GraphRun, median_rate, rates_table, run_graphs
from bench.processes import Process
from bench.profiles import print_profile, read_profile
from bench.shapes import Description, bag, chain, diamond, reduce
from bench.stage import BusName, Fleet, Stage, fleet, say, stage

WARM_UP = 500
# "sequential" is `CHAINS` chains at once, of so many nodes together; a chain alone has a part of the nodes, since it
# measures the time of one step.
CHAINS = 100
ALONE = 20
GOAL_RATE = 1181
BACKEND: dict[str, Any] = {"node_type": "mock", "max_process_num": SLOTS, "prefetch": PREFETCH}

STRUCTURES: dict[str, Callable[[str, int], list[Description]]] = {
    "bag": lambda model, nodes: [bag(model, nodes)],
    "diamond": lambda model, nodes: [diamond(model, nodes)],
    "reduce": lambda model, nodes: [reduce(model, nodes)],
    "sequential": lambda model, nodes: [chain(model, max(1, nodes // CHAINS))] * CHAINS,
    "sequential, one alone": lambda model, nodes: [chain(model, max(1, nodes // ALONE))],
}


def run(buses: Sequence[BusName], *, nodes: int, workers: int, rounds: int, profile: bool, file: Path | None) -> None:
    """Measures, prints, writes. Raises `PartError`."""
    plain: dict[BusName, list[float]] = {bus: [] for bus in buses}
    runs: dict[BusName, list[GraphRun]] = {bus: [] for bus in buses}
    with stage(pulsar="pulsar" in buses) as on:
        for number in range(1, rounds + 1):
            for bus in buses:
                plain[bus].append(fleet_round(on, bus, nodes, workers, profile=False).rate)
                say(f"round {number} of {rounds}, {bus}, plain requests: {plain[bus][-1]:,.0f}/s")
                runs[bus] += _round(on, bus, nodes, workers, profile=profile and number == rounds)
    for bus in buses:
        _print(bus, runs[bus], statistics.median(plain[bus]))
    written = {
        bus: {"plain": plain[bus], "runs": [{**asdict(each), "rate": each.rate} for each in runs[bus]]}
        for bus in buses
    }
    report.write("graphs", {"nodes": nodes, "workers": workers, "buses": written}, file)


def _round(on: Stage, bus: BusName, nodes: int, workers: int, *, profile: bool) -> list[GraphRun]:
    target = on.directory if profile else None
    done = []
    with fleet(on, bus, workers=workers, profile_to=target, **BACKEND) as started:
        run_graphs(on, started, "warm-up", [bag(started.model, WARM_UP)])
        for structure, descriptions in STRUCTURES.items():
            with _sampled(on, f"{structure} on {bus}", nodes, started if profile else None):
                done.append(run_graphs(on, started, structure, descriptions(started.model, nodes)))
            say(f"{bus}, {structure}: {done[-1].rate:,.0f} nodes/s")
    return done


@contextmanager
def _sampled(on: Stage, title: str, nodes: int, started: Fleet | None) -> Iterator[None]:
    """Says what the time of a fleet's processes is spent on in the block."""
    processes: list[Process] = [*started.coordinators, *started.workers] if started else []
    for each in processes:
        each.signal(signal.SIGUSR1)
    yield
    for each in processes:
        each.signal(signal.SIGUSR2)
    for each in processes:
        print_profile(f"{title}, {each.name}", read_profile(on.directory / f"{each.name}.json", each), nodes)


def _print(bus: BusName, runs: Sequence[GraphRun], plain: float) -> None:
    of = {way: [each for each in runs if each.way == way] for way in STRUCTURES}
    report.show(
        f"No-op nodes on {bus}, mock backend with {SLOTS} slots and AGENTOS_PREFETCH={PREFETCH}; medians of "
        f"{len(of['bag'])} round(s); plain requests of the same run, submitted in batches: {plain:,.0f}/s; "
        "CPU in ms a node\n"
    )
    report.show(rates_table("structure", of, "of plain", plain) + "\n")
    for way in ("bag", "diamond", "reduce", "sequential"):
        rate = median_rate(of[way])
        report.show(report.goal(f"{way} on {bus} over {GOAL_RATE:,} nodes/s ({rate:,.0f})", met=rate > GOAL_RATE))
