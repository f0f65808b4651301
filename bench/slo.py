"""`python -m bench slo`: the policies beside one another in simulations, and the planner beside a fixed fleet."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from bench import report, sloplots
from bench.slocells import POLICIES, SHAPES, Cell, Kind, Load, Result, mapped, simulated
from bench.sloplanner import Provision, provisions
from bench.stage import say
from policy.slo.pipeline import PolicyName

OURS: PolicyName = "agentos"
# Those whose best ours is to exceed, in overload, by this factor.
SIMPLE: tuple[PolicyName, ...] = ("none", "lazy", "nexus")
GAIN = 1.16
OVERLOAD = 1.2
# Ours is nowhere to be worse than the best of all by more, as a part of what is offered.
POINT = 0.01
# The planner is to need at most this part of a fleet for the peak.
HALF = 0.5


class Row(NamedTuple):
    """The policies under one load."""

    pipeline: str
    arrivals: Kind
    load: float
    results: dict[PolicyName, Result]

    def goodput(self, policy: PolicyName) -> float:
        return self.results[policy].figures.goodput

    @property
    def gain(self) -> float:
        """Ours to the best of the simple ones."""
        return self.goodput(OURS) / max(1e-9, *map(self.goodput, SIMPLE))

    @property
    def distance(self) -> float:
        """Ours less the best of all; 0 if ours is the best."""
        return self.goodput(OURS) - max(map(self.goodput, POLICIES))

    def __str__(self) -> str:
        return f"{self.pipeline}, {SHAPES[self.arrivals]}, {self.load:g} ×"


def run(
    *,
    pipelines: Sequence[str],
    loads: Sequence[float],
    requests: int,
    trace: Path | None,
    slo: float,
    seed: int,
    processes: int,
    plots: Path,
    file: Path | None,
) -> None:
    """Simulates, prints, draws, writes. Raises `ConfigurationError`."""
    arrivals = [Load("poisson", requests, seed, None), Load("gamma", requests, seed, None)]
    if trace is not None:
        arrivals.append(Load("trace", requests, seed, trace))
    cells = [
        Cell(*each, policy) for each in itertools.product(pipelines, arrivals, loads, [slo]) for policy in POLICIES
    ]
    results: list[Result] = []
    for cell, result in zip(cells, mapped(simulated, cells, processes), strict=True):
        results.append(result)
        say(f"{len(results)} of {len(cells)}: {cell.pipeline}, {cell.arrivals.kind}, {cell.load:g} ×, {cell.policy}")
    rows = [
        Row(first.pipeline, first.arrivals, first.load, {each.figures.policy: each for each in group})
        for group in (results[at : at + len(POLICIES)] for at in range(0, len(results), len(POLICIES)))
        for first in group[:1]
    ]
    provided = provisions(pipelines, arrivals, processes)
    _print(rows, provided, requests, seed)
    sloplots.draw(plots, results, provided)
    say(f"drawn in {plots}")
    given = {"requests": requests, "seed": seed, "slo": slo}
    report.write("slo", {**given, "cells": _plain(results), "planner": _plain(provided)}, file)


def _plain(structs: Iterable[object]) -> object:
    return msgspec.to_builtins(list(structs), str_keys=True)


def _print(rows: Sequence[Row], provided: Sequence[Provision], requests: int, seed: int) -> None:
    report.show(f"Simulated: {requests:,} requests each, seed {seed}. Goodput in % of all offered\n")
    head = ["pipeline, arrivals, load", *POLICIES, "ours to best of none, lazy, nexus", "points to best of all"]
    report.show(
        report.table(
            head,
            [
                [
                    str(row),
                    *(_percent(row.goodput(each)) for each in POLICIES),
                    f"{row.gain:.2f}",
                    _percent(row.distance),
                ]
                for row in rows
            ],
        )
    )
    for title, figure in _FIGURES.items():
        report.show(f"\n{title}\n")
        report.show(
            report.table(
                ["pipeline, arrivals, load", *POLICIES],
                [[str(row), *(figure(row.results[each]) for each in POLICIES)] for row in rows],
            )
        )
    _print_stages(rows)
    _print_planner(provided)
    report.show("")
    _print_goals(rows, provided)


def _percent(part: float) -> str:
    return f"{100 * part:.1f}"


def _cost(result: Result) -> str:
    figures = result.figures
    return f"{figures.worker_seconds / figures.on_time:.3f}" if figures.on_time else "-"


_FIGURES = {
    "Dropped, % of all offered": lambda result: _percent(result.figures.drop_rate),
    "Wasted: % of the workers' busy time spent on requests that failed": lambda result: _percent(
        result.figures.wasted
    ),
    "Worker-seconds for each request on time": _cost,
}


def _print_stages(rows: Sequence[Row]) -> None:
    row = max(rows, key=lambda each: (len(each.results[OURS].figures.stages), each.arrivals == "poisson", each.load))
    report.show(f"\nBy stage ({row}): dropped there, % of all offered / wasted, % of the stage's busy time\n")
    names = list(row.results[OURS].figures.stages)
    table: list[list[str]] = []
    for policy in POLICIES:
        figures = row.results[policy].figures
        table.append([policy])
        for name in names:
            stage = figures.stages[name]
            wasted = stage.wasted_seconds / stage.busy_seconds if stage.busy_seconds else 0.0
            table[-1].append(f"{_percent(figures.dropped_at[name] / figures.offered)} / {_percent(wasted)}")
    report.show(report.table(["policy", *names], table))


def _print_planner(provided: Sequence[Provision]) -> None:
    report.show("\nThe planner beside a fixed fleet, as planned for the busiest second: requests on time in %\n")
    head = [
        "pipeline, arrivals",
        "mean/s",
        "peak/s",
        "fixed",
        "planner",
        "fixed worker-s",
        "planner's",
        "of fixed",
        "mean of peak",
    ]
    rows = [
        [
            f"{each.pipeline}, {SHAPES[each.arrivals]}",
            f"{each.rate:.1f}",
            f"{each.peak:.0f}",
            _percent(each.fixed.goodput),
            _percent(each.planned.goodput),
            f"{each.fixed.worker_seconds:,.0f}",
            f"{each.planned.worker_seconds:,.0f}",
            f"{each.part:.2f}",
            f"{each.rate / each.peak:.2f}",
        ]
        for each in provided
    ]
    report.show(report.table(head, rows))


def _print_goals(rows: Sequence[Row], provided: Sequence[Provision]) -> None:
    overload = [row for row in rows if row.load >= OVERLOAD]
    _goal(
        f"{GAIN - 1:.0%} more goodput than the best of none, lazy and nexus from {OVERLOAD:g} × the capacity on",
        [f"{row}: {row.gain:.2f}" for row in overload if row.gain < GAIN],
        len(overload),
    )
    _goal(
        f"nowhere more than {100 * POINT:g} point worse than the best of all",
        [f"{row}: {100 * row.distance:.1f}" for row in rows if row.distance < -POINT],
        len(rows),
    )
    _goal(
        f"the planner as much on time as a fleet for the peak, within a point, at {HALF:g} of its worker-seconds",
        [
            f"{each.pipeline}, {SHAPES[each.arrivals]}: {each.part:.2f}, {100 * each.behind:.1f} points"
            for each in provided
            if each.part > HALF or each.behind < -POINT
        ],
        len(provided),
    )


def _goal(text: str, misses: Sequence[str], of: int) -> None:
    report.show(report.goal(text, met=not misses))
    if misses:
        report.show(f"  not in {len(misses)} of {of}: {'; '.join(misses)}")
