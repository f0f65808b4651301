"""The planner beside a fleet that is fixed for the peak, on the same load."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

import msgspec

from bench.slocells import Kind, Load, example
from bench.stage import say
from policy.slo.pipeline import Pipeline, Workers
from policy.slo.planner import Plan, plan
from workload.simulator.figures import Figures
from workload.simulator.simulate import simulate

# A load that is no trace has this mean rate; a trace has its own.
RATE = 40.0
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


def provisions(pipelines: Sequence[str], loads: Sequence[Load]) -> list[Provision]:
    """All of these."""
    return list(_provisions(pipelines, loads))


def _provisions(pipelines: Sequence[str], loads: Sequence[Load]) -> Iterator[Provision]:
    for name in pipelines:
        pipeline = _unbounded(example(name))
        for load in loads:
            say(f"planner: {name}, {load.kind}")
            yield _provision(pipeline, load)


def _provision(pipeline: Pipeline, load: Load) -> Provision:
    arrivals = load.at(RATE) if load.trace is None else load.as_recorded()
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
