"""The pictures of `python -m bench slo`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import matplotlib
from matplotlib.figure import Figure

from bench.slocells import POLICIES, SHAPES, Result
from bench.sloplanner import Provision

COLOURS = dict(zip(POLICIES, ("tab:gray", "tab:olive", "tab:blue", "tab:orange", "tab:red"), strict=True))


def draw(directory: Path, results: Sequence[Result], provided: Sequence[Provision]) -> None:
    """Writes `slo-goodput.svg`, `slo-wasted.svg` and `slo-planner.svg`; the same figures make the same files."""
    directory.mkdir(parents=True, exist_ok=True)
    _by_load(directory / "slo-goodput.svg", results, "goodput, %", lambda result: result.figures.goodput)
    _by_load(directory / "slo-wasted.svg", results, "wasted busy time, %", lambda result: result.figures.wasted)
    _planner(directory / "slo-planner.svg", provided)


def _by_load(file: Path, results: Sequence[Result], title: str, figure_of: Callable[[Result], float]) -> None:
    pipelines = list(dict.fromkeys(result.pipeline for result in results))
    kinds = list(dict.fromkeys(result.arrivals for result in results))
    figure = Figure(figsize=(4 * len(kinds), 2.6 * len(pipelines)), layout="constrained")
    grid = figure.subplots(len(pipelines), len(kinds), sharex=True, sharey=True, squeeze=False)
    for axes, pipeline in zip(grid, pipelines, strict=True):
        for each, kind in zip(axes, kinds, strict=True):
            for policy in POLICIES:
                points = [
                    (result.load, 100 * figure_of(result))
                    for result in results
                    if (result.pipeline, result.arrivals, result.figures.policy) == (pipeline, kind, policy)
                ]
                each.plot(*zip(*points, strict=True), label=policy, color=COLOURS[policy], marker=".")
            each.set_title(f"{pipeline}, {SHAPES[kind]}", fontsize="medium")
            each.set_ylim(0, 100)
    figure.supxlabel("load, times the capacity")
    figure.supylabel(title)
    grid[0][-1].legend(fontsize="small")
    _save(figure, file)


def _planner(file: Path, provided: Sequence[Provision]) -> None:
    pipelines = list(dict.fromkeys(each.pipeline for each in provided))
    columns = len(provided) // len(pipelines)
    figure = Figure(figsize=(4 * columns, 2.6 * len(pipelines)), layout="constrained")
    grid = figure.subplots(len(pipelines), columns, squeeze=False)
    for axes, each in zip((one for row in grid for one in row), provided, strict=True):
        seconds = each.planned.seconds
        axes.axhline(each.workers, color="tab:gray", label="fixed for the peak")
        times, counts = zip(*each.changes, (seconds, each.changes[-1][1]), strict=True)
        axes.step(times, counts, where="post", color="tab:red", label="planner")
        axes.set_title(f"{each.pipeline}, {SHAPES[each.arrivals]}", fontsize="medium")
        axes.set_ylim(bottom=0)
    figure.supxlabel("seconds")
    figure.supylabel("workers of all stages")
    grid[0][-1].legend(fontsize="small")
    _save(figure, file)


def _save(figure: Figure, file: Path) -> None:
    with matplotlib.rc_context({"svg.hashsalt": file.stem, "svg.fonttype": "none"}):
        figure.savefig(file, metadata={"Date": None})
