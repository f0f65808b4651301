"""What `python -m bench slo` simulates: pipelines, loads, policies."""

from __future__ import annotations

import itertools
import multiprocessing
import random
from array import array
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Literal, NamedTuple, TypeVar, get_args

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
# How they are called.
SHAPES: dict[Kind, str] = {"poisson": "Poisson", "gamma": f"gamma, CV {VARIATION:g}", "trace": "trace"}

Given = TypeVar("Given")
Found = TypeVar("Found")


class Load(NamedTuple):
    """`requests` of a kind; a trace has them in `trace`. The same seed is the same load, at whatever rate."""

    kind: Kind
    requests: int
    seed: int
    trace: Path | None

    def at(self, rate: float) -> Sequence[float]:
        """Times, with exactly this mean rate."""
        return array("d", (arrival.at for arrival in at_rate(self._arrivals(), rate)))

    def times(self, count: int) -> Sequence[float]:
        """Times as recorded, with so many requests instead of each: anywhere before the next."""
        chance, recorded = random.Random(self.seed), [arrival.at for arrival in self._arrivals()]
        gaps = itertools.pairwise(recorded)
        return array("d", sorted(chance.uniform(at, later) for at, later in gaps for _ in range(count)))

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


def mapped(function: Callable[[Given], Found], given: Sequence[Given], processes: int) -> Iterator[Found]:
    """What comes of each, in order, as soon as it is there."""
    if processes == 1:
        yield from map(function, given)
        return
    with ProcessPoolExecutor(processes, mp_context=multiprocessing.get_context("spawn")) as pool:
        yield from pool.map(function, given)


def simulated(cell: Cell) -> Result:
    """What comes of it."""
    pipeline = example(cell.pipeline, cell.slo)
    plans = fixed(pipeline, {stage.id: stage.workers.most for stage in pipeline.stages})
    most = capacity(pipeline, plans)
    found = simulate(pipeline, cell.arrivals.at(cell.load * most), cell.policy, plans, seed=cell.arrivals.seed)
    return Result(cell.pipeline, cell.arrivals.kind, cell.load, pipeline.slo_seconds, most, found.figures)
