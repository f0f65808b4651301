"""The planner beside a fleet that is fixed for the peak, on the same load."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Sequence

import msgspec

from bench.slocells import Kind, Load, example, mapped
from bench.stage import say
from policy.slo.pipeline import Pipeline, Workers
from policy.slo.planner import Plan, plan
from workload.simulator.figures import Figures
from workload.simulator.simulate import simulate

# A load that is no trace has this mean rate. A trace has its own, so many times: it is one of a small service.
RATE = 40.0
TIMES = 10
MOST_WORKERS = 1000


class Provision(msgspec.Struct, frozen=True, kw_only=True):
    """One load on both. `peak`: requests in the busiest second. `workers`: of the fixed fleet, all stages together;
    `changes`: of the planner's: seconds, workers.
    """

    pipeline: str
    arrivals: Kind
    rate: float
    peak: int
    workers: int
    changes: list[tuple[float, int]]
    fixed: Figures
    planned: Figures

    @property
    def part(self) -> float:
        """The planner's worker-seconds to those of the fixed fleet."""
        return self.planned.worker_seconds / self.fixed.worker_seconds

    @property
    def behind(self) -> float:
        """The planner's goodput less the other's."""
        return self.planned.goodput - self.fixed.goodput


def provisions(pipelines: Sequence[str], loads: Sequence[Load], processes: int) -> list[Provision]:
    """All of these."""
    found: list[Provision] = []
    for each in mapped(_provision, list(itertools.product(pipelines, loads)), processes):
        found.append(each)
        say(f"planner: {each.pipeline}, {each.arrivals}")
    return found


def _provision(given: tuple[str, Load]) -> Provision:
    pipeline, load = _unbounded(example(given[0])), given[1]
    arrivals = load.at(RATE) if load.trace is None else load.times(TIMES)
    rate = (len(arrivals) - 1) / (arrivals[-1] - arrivals[0])
    peak = max(Counter(int(at) for at in arrivals).values())
    for_peak = plan(pipeline, peak)
    planned = simulate(pipeline, arrivals, "agentos", plan(pipeline, rate).stages, planner=True, seed=load.seed)
    return Provision(
        pipeline=pipeline.name,
        arrivals=load.kind,
        rate=rate,
        peak=peak,
        workers=_workers(for_peak),
        changes=[(at, _workers(each)) for at, each in planned.changes],
        fixed=simulate(pipeline, arrivals, "agentos", for_peak.stages, seed=load.seed).figures,
        planned=planned.figures,
    )


def _workers(planned: Plan) -> int:
    return sum(stage.workers for stage in planned.stages.values())


def _unbounded(pipeline: Pipeline) -> Pipeline:
    bounds = Workers(least=1, most=MOST_WORKERS)
    stages = [msgspec.structs.replace(stage, workers=bounds) for stage in pipeline.stages]
    return msgspec.structs.replace(pipeline, stages=stages)
