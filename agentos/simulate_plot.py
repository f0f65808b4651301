"""A simulation over time, as a picture."""

from __future__ import annotations

import bisect
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from core.errors import ConfigurationError
from policy.slo.planner import Plan, StagePlan
from workload.simulator.requests import End, Requests

if TYPE_CHECKING:
    from matplotlib.axes import Axes

POINTS = 120


def draw(
    file: Path, requests: Requests, plans: Mapping[str, StagePlan], changes: Sequence[tuple[float, Plan]]
) -> None:
    """Requests a second that came, and those of them that were on time; and the workers of each stage.

    Raises `ConfigurationError` where matplotlib is not installed, or cannot write the file.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise ConfigurationError("--plot needs matplotlib: pip install 'agentos[bench]'") from None
    figure = Figure(figsize=(9, 6), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True)
    _rates(above, requests)
    _workers(below, plans, changes, max(requests.arrived_at, default=0.0))
    try:
        figure.savefig(file)
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"--plot {file}: {error}") from None


def _rates(axes: Axes, requests: Requests) -> None:
    arrived = requests.arrived_at
    step = max(1.0, (arrived[-1] if arrived else 0.0) / POINTS)
    on_time = [at for at, end in zip(arrived, requests.ends, strict=True) if end == End.ON_TIME]
    times = [step * point for point in range(POINTS + 1) if not arrived or step * point <= arrived[-1]]
    for name, each in (("offered", arrived), ("on time", on_time)):
        counts = [bisect.bisect(each, at + step) - bisect.bisect(each, at) for at in times]
        axes.plot(times, [count / step for count in counts], label=name)
    axes.set_ylabel("requests/s, by arrival")
    axes.set_ylim(bottom=0)
    axes.legend()


def _workers(axes: Axes, plans: Mapping[str, StagePlan], changes: Sequence[tuple[float, Plan]], until: float) -> None:
    for name, start in plans.items():
        times = [0.0, *(at for at, _ in changes), until]
        counts = [start.workers, *(plan.stages[name].workers for _, plan in changes)]
        axes.step(times, [*counts, counts[-1]], where="post", label=name)
    axes.set_ylabel("workers ordered")
    axes.set_xlabel("seconds")
    axes.set_ylim(bottom=0)
    axes.legend()
