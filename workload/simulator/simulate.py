"""One simulation, by its description."""

from __future__ import annotations

import random
from array import array
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from policy.slo.pipeline import Pipeline, PolicyName
from policy.slo.planner import HOP_SECONDS, Plan, StagePlan
from workload.simulator.clock import Clock
from workload.simulator.engine import Engine
from workload.simulator.figures import Figures, figures
from workload.simulator.requests import Requests
from workload.simulator.world import World


class Simulation(NamedTuple):
    """`requests`: what became of each. `changes`: the planner's, each with its time in seconds."""

    figures: Figures
    requests: Requests
    changes: list[tuple[float, Plan]]


def simulate(
    pipeline: Pipeline,
    arrivals: Sequence[float],
    policy: PolicyName,
    plans: Mapping[str, StagePlan],
    *,
    hop: float = HOP_SECONDS,
    jitter: float = 0.0,
    planner: bool = False,
    users: Sequence[float] = (),
    seed: int = 0,
) -> Simulation:
    """The same for the same arguments.

    `pipeline`: as `policy.slo.pipeline.checked` returns it. `arrivals`: seconds from the start, in order. `plans`: by
    stage, batch size and workers (see `capacity.fixed`), for good or, with `planner`, to begin with. `hop`: seconds
    from a gate to a worker and back. `jitter`: standard deviation of the logarithm of a batch's seconds over its
    profile's. `users`: the part of the load of each, if there are several.
    """
    chance = random.Random(seed)
    clock = Clock(hop / 2)
    requests = Requests(arrivals, pipeline.slo_seconds, _users(users, len(arrivals), chance))
    engine = Engine(pipeline, World(clock, requests, policy, jitter, chance), plans, planner=planner)
    seconds = engine.run()
    found = figures(policy, engine.fronts.values(), requests, seconds=seconds, events=clock.events)
    return Simulation(found, requests, engine.changes)


def _users(parts: Sequence[float], count: int, chance: random.Random) -> Sequence[int]:
    if len(parts) < 2:
        return ()
    return array("H", chance.choices(range(len(parts)), weights=parts, k=count))
