"""`python -m bench pipeline`: real runs of a pipeline beside simulations of the same arrivals.

What the simulator cannot know, the time from a gate to a worker and back, is measured first, under a light load.
"""

from __future__ import annotations

import asyncio
import itertools
import random
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import msgspec

from agentos.pipeline_files import read_pipeline
from bench import report
from bench.pipelinefleet import pipeline_fleet, renamed
from bench.stage import BusName, Stage, say, stage
from policy.slo.pipeline import Pipeline, PolicyName
from policy.slo.planner import StagePlan
from workload.arrivals import Arrival, gamma, within
from workload.client import Client
from workload.openloop import OpenLoop
from workload.pipeline_report import fate
from workload.senders import Requests
from workload.simulator.capacity import capacity, fixed
from workload.simulator.simulate import simulate

LIGHT = 0.2
LIGHT_SECONDS = 15.0  # or as long as the runs, if these are shorter
DRAIN_SECONDS = 30.0
GOAL_POINTS = 0.05


@dataclass(frozen=True, slots=True)
class Compared:
    """One run. Goodputs are parts of `offered`; `late`: the 99th percentile of how late requests were sent."""

    bus: BusName
    policy: PolicyName
    load: float
    offered: int
    hop: float
    real: float
    simulated: float
    real_dropped: float
    simulated_dropped: float
    late: float


def run(
    buses: Sequence[BusName],
    *,
    pipeline: Path,
    workers: int,
    policies: Sequence[PolicyName],
    loads: Sequence[float],
    burstiness: float,
    seconds: float,
    seed: int,
    file: Path | None,
) -> None:
    """Measures, prints, writes. Raises `ConfigurationError`, `PartError`."""
    described = read_pipeline(pipeline)
    with stage(pulsar="pulsar" in buses) as on:
        found = [
            compared
            for bus, policy in itertools.product(buses, policies)
            for compared in _runs(on, bus, described, workers, policy, loads, burstiness, seconds, seed)
        ]
    _print(described, workers, burstiness, seconds, found)
    given = {
        "pipeline": described.name,
        "workers": workers,
        "burstiness": burstiness,
        "seconds": seconds,
        "seed": seed,
    }
    report.write("pipeline", {**given, "runs": [asdict(each) for each in found]}, file)


def _runs(
    on: Stage,
    bus: BusName,
    described: Pipeline,
    workers: int,
    policy: PolicyName,
    loads: Sequence[float],
    burstiness: float,
    seconds: float,
    seed: int,
) -> list[Compared]:
    pipeline = renamed(msgspec.structs.replace(described, policy=policy))
    plans = fixed(pipeline, {each.id: workers for each in pipeline.stages})
    most = capacity(pipeline, plans)
    with pipeline_fleet(on, bus, pipeline, plans) as gateway:
        hop = asyncio.run(_hop(gateway, pipeline, most, min(LIGHT_SECONDS, seconds), seed))
        say(f"{bus}, {policy}: {most:.1f} requests/s are the capacity; from a gate and back in {hop * 1000:.0f} ms")
        found = []
        for load in loads:
            arrivals = _arrivals(load * most, burstiness, seconds, seed)
            compared = asyncio.run(_compare(gateway, bus, pipeline, plans, load, arrivals, hop, seed))
            say(f"{bus}, {policy}, load {load:g}: real {compared.real:.3f}, simulated {compared.simulated:.3f}")
            found.append(compared)
    return found


def _arrivals(rate: float, burstiness: float, seconds: float, seed: int) -> list[Arrival]:
    return list(within(gamma(rate, burstiness, random.Random(seed)), seconds))


async def _hop(gateway: str, pipeline: Pipeline, most: float, seconds: float, seed: int) -> float:
    """Mean seconds from a gate to a worker and back, of all stages, where nobody waits."""
    async with Client(gateway) as client:
        await client.apply(pipeline)
        loop = OpenLoop(_send(client, pipeline))
        await loop.run(_arrivals(LIGHT * most, 1, seconds, seed), drain_seconds=DRAIN_SECONDS)
        stages = (await client.pipeline(pipeline.name))["figures"]["stages"]
    return statistics.fmean(each["hop"] for each in stages.values())


async def _compare(
    gateway: str,
    bus: BusName,
    pipeline: Pipeline,
    plans: dict[str, StagePlan],
    load: float,
    arrivals: Sequence[Arrival],
    hop: float,
    seed: int,
) -> Compared:
    async with Client(gateway) as client:
        outcomes = await OpenLoop(_send(client, pipeline)).run(arrivals, drain_seconds=DRAIN_SECONDS)
    fates = [fate(each, pipeline.slo_seconds) for each in outcomes]
    late = sorted(each.sent - each.due for each in outcomes)
    simulated = simulate(pipeline, [each.at for each in arrivals], pipeline.policy, plans, hop=hop, seed=seed).figures
    return Compared(
        bus=bus,
        policy=pipeline.policy,
        load=load,
        offered=len(arrivals),
        hop=hop,
        real=fates.count("on_time") / len(arrivals),
        simulated=simulated.goodput,
        real_dropped=fates.count("dropped") / len(arrivals),
        simulated_dropped=simulated.drop_rate,
        late=late[int(0.99 * (len(late) - 1))],
    )


def _send(client: Client, pipeline: Pipeline) -> Requests:
    return Requests(client.door, pipeline.name, slo_seconds=None, wait=pipeline.slo_seconds + DRAIN_SECONDS)


def _print(pipeline: Pipeline, workers: int, burstiness: float, seconds: float, found: Sequence[Compared]) -> None:
    report.show(
        f"Pipeline {pipeline.name}: {len(pipeline.stages)} stages with {workers} workers each, SLO "
        f"{pipeline.slo_seconds:g} s; arrivals with a CV of {burstiness**-0.5:g} for {seconds:g} s; goodput = within "
        "the SLO ÷ all offered\n"
    )
    head = [
        "run",
        "offered",
        "real",
        "simulated",
        "points apart",
        "dropped",
        "simulated",
        "hop ms",
        "sent late p99 ms",
    ]
    rows = [
        [
            f"{each.bus}, {each.policy}, load {each.load:g}",
            each.offered,
            f"{each.real:.3f}",
            f"{each.simulated:.3f}",
            f"{100 * (each.real - each.simulated):+.1f}",
            f"{each.real_dropped:.3f}",
            f"{each.simulated_dropped:.3f}",
            f"{1000 * each.hop:.0f}",
            f"{1000 * each.late:.0f}",
        ]
        for each in found
    ]
    report.show(report.table(head, rows) + "\n")
    apart = max(abs(each.real - each.simulated) for each in found)
    wanted = f"the simulation's goodput within {100 * GOAL_POINTS:g} points of the real one"
    report.show(report.goal(f"{wanted} (at most {100 * apart:.1f} apart)", met=apart <= GOAL_POINTS))
