"""What `python -m bench slo` simulates: pipelines, loads, policies."""

from __future__ import annotations

import itertools
import random
from array import array
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Literal, NamedTuple, get_args

import msgspec

from agentos.load_plan import read_trace
from agentos.pipeline_files import read_pipeline
from policy.slo.pipeline import Pipeline, PolicyName
from workload.arrivals import Arrival, at_rate, gamma
from workload.simulator.capacity import capacity, fixed
from workload.simulator.figures import Figures
from workload.simulator.simulate import simulate

PIPELINES = Path(__file__).parent.parent / "examples" / "pipelines"
POLICIES: tuple[PolicyName, ...] = get_args(PolicyName)
Kind = Literal["poisson", "gamma", "trace"]
# Busy services see such gaps: their standard deviation is so many times their mean.
VARIATION = 13.0
SHAPES: dict[Kind, str] = {"poisson": "Poisson", "gamma": f"gamma, CV {VARIATION:g}", "trace": "trace"}


class Load(NamedTuple):
    """`requests` of a kind; a trace has them in `trace`. The same seed is the same load, at whatever rate."""

    kind: Kind
    requests: int
    seed: int
    trace: Path | None

    def at(self, rate: float) -> Sequence[float]:
        """Times, with exactly this mean rate."""
        return array("d", (arrival.at for arrival in at_rate(self._arrivals(), rate)))

    def as_recorded(self) -> Sequence[float]:
        """Times, with a mean rate of 1 where it is no trace."""
        return array("d", (arrival.at for arrival in self._arrivals()))

    def _arrivals(self) -> list[Arrival]:
        if self.trace is not None:
            return read_trace(self.trace)[: self.requests]
        burstiness = 1.0 if self.kind == "poisson" else VARIATION**-2
        return list(itertools.islice(gamma(1.0, burstiness, random.Random(self.seed)), self.requests))


class Cell(NamedTuple):
    """One simulation. `load`: times the capacity; `slo`: times the pipeline's own."""

    pipeline: str
    arrivals: Load
    load: float
    slo: float
    policy: PolicyName


class Result(msgspec.Struct, frozen=True):
    """A cell by its names; `capacity`: requests a second."""

    pipeline: str
    arrivals: Kind
    load: float
    slo_seconds: float
    capacity: float
    figures: Figures


def example(name: str, slo: float = 1.0) -> Pipeline:
    """One of `PIPELINES`, with its SLO times `slo`. Raises `ConfigurationError`."""
    pipeline = read_pipeline(PIPELINES / f"{name}.yaml")
    return msgspec.structs.replace(pipeline, slo_seconds=pipeline.slo_seconds * slo)


def simulated(cells: Sequence[Cell], processes: int) -> Iterator[Result]:
    """Each as it is done, in order."""
    if processes == 1:
        yield from map(_simulate, cells)
        return
    with ProcessPoolExecutor(processes) as pool:
        yield from pool.map(_simulate, cells)


def _simulate(cell: Cell) -> Result:
    pipeline = example(cell.pipeline, cell.slo)
    plans = fixed(pipeline, {stage.id: stage.workers.most for stage in pipeline.stages})
    most = capacity(pipeline, plans)
    found = simulate(pipeline, cell.arrivals.at(cell.load * most), cell.policy, plans, seed=cell.arrivals.seed)
    return Result(cell.pipeline, cell.arrivals.kind, cell.load, pipeline.slo_seconds, most, found.figures)
