"""What "agentos" would come to if one of its rules were another, in simulations.

`python -m tests.policy.slo.variants 10000` prints goodput with 10,000 requests each; with `10000 8 0.4` for eight
workers and 0.4 s a stage.
"""

from __future__ import annotations

import itertools
import random
import sys
from array import array
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import NamedTuple, cast

from policy.order import Order
from policy.slo import forming, rules
from policy.slo.pipeline import Pipeline, PolicyName, Stage, checked
from policy.slo.rules import AgentOS, Nexus, Pard, Policy
from policy.slo.sight import Sight
from tests.policy.slo.seen import SEED
from workload.arrivals import gamma
from workload.simulator.capacity import capacity, fixed
from workload.simulator.simulate import simulate

WORKERS = 4
SLO_SECONDS = 0.8  # for each stage
BURSTINESS = {"Poisson": 1.0, "gamma, CV 13": 1 / 169}
LOADS = (1.0, 1.2, 2.0)
STAGES = (1, 4)


class ByLoad(AgentOS):
    """The order by PARD's load factor."""

    def order(self, sight: Sight, earliest: float, before: Order) -> Order:
        return Pard.order(self, sight, earliest, before)


class Earliest(AgentOS):
    """The earliest deadline first, always."""

    def order(self, sight: Sight, earliest: float, before: Order) -> Order:
        return "deadline"


class NothingHeld(AgentOS):
    """What is expected to be late is dropped at its turn."""

    holds = False


class FarSighted(Nexus):
    """Nexus that leaves the later stages the least that they need."""

    def hopeless_before(self, sight: Sight) -> float:
        return super().hopeless_before(sight) + sight.least

    def late_before(self, sight: Sight) -> float:
        return super().late_before(sight) + sight.least

    def serve_by(self, sight: Sight, deadline: float | None) -> float | None:
        return None if deadline is None else deadline - sight.least


class Split(Nexus):
    """Nexus that leaves the later stages a batch's time each, and as long to wait for it: the SLO is divided."""

    def serve_by(self, sight: Sight, deadline: float | None) -> float | None:
        later = round(sight.least / sight.profile.seconds(1))
        return None if deadline is None else deadline - later * 2 * sight.profile.seconds(sight.size)


# The policy that runs, by what rules, and how long batches gather.
VARIANTS: dict[str, tuple[Policy, float]] = {
    "agentos": (AgentOS(), forming.GATHER),
    "pard": (Pard(), forming.GATHER),
    "order by load factor": (ByLoad(), forming.GATHER),
    "earliest always first": (Earliest(), forming.GATHER),
    "nothing held": (NothingHeld(), forming.GATHER),
    "no gathering": (AgentOS(), 0.0),
    "start at the last moment": (AgentOS(), 1e6),
    "nexus": (Nexus(), forming.GATHER),
    "nexus, far-sighted": (FarSighted(), forming.GATHER),
    "nexus, SLO divided": (Split(), forming.GATHER),
}


def chain(stages: int, slo_seconds: float) -> Pipeline:
    """Stages with the seed's profile."""
    names = [f"s{number}" for number in range(stages)]
    return checked(
        Pipeline(
            name="chain",
            slo_seconds=slo_seconds * stages,
            stages=[
                Stage(id=name, model=name, profile=SEED.points(), after=[before] if before else [])
                for before, name in itertools.pairwise(["", *names])
            ],
        )
    )


class Load(NamedTuple):
    """`load`: times the capacity of batches as planned; `slo_seconds`: for each stage."""

    stages: int
    burstiness: float
    load: float
    requests: int
    workers: int = WORKERS
    slo_seconds: float = SLO_SECONDS


def goodput(load: Load, policy: PolicyName) -> float:
    """On time ÷ offered; always the same."""
    pipeline = chain(load.stages, load.slo_seconds)
    plans = fixed(pipeline, {stage.id: load.workers for stage in pipeline.stages})
    rate = load.load * capacity(pipeline, plans)
    arrivals = itertools.islice(gamma(rate, load.burstiness, random.Random(1)), load.requests)
    return simulate(pipeline, array("d", (each.at for each in arrivals)), policy, plans).figures.goodput


def varied(variant: str, run: Callable[[PolicyName], float]) -> float:
    """A run under other rules."""
    policy, gather = VARIANTS[variant]
    with _in_force(policy, gather):
        return run(policy.name)


@contextmanager
def _in_force(policy: Policy, gather: float) -> Iterator[None]:
    policies = cast(dict[PolicyName, Policy], rules.POLICIES)
    kept = policies[policy.name], forming.GATHER
    policies[policy.name], forming.GATHER = policy, gather
    try:
        yield
    finally:
        policies[policy.name], forming.GATHER = kept


def main(variants: Sequence[str], requests: int, workers: int, slo_seconds: float) -> None:
    """Prints a table, in % of all offered: a column for each of `LOADS`."""
    for (kind, burstiness), stages in itertools.product(BURSTINESS.items(), STAGES):
        sys.stdout.write(f"{kind}, {stages} stage{'s' * (stages > 1)}\n")
        loads = [Load(stages, burstiness, load, requests, workers, slo_seconds) for load in LOADS]
        for variant in variants:
            cells = [varied(variant, partial(goodput, load)) for load in loads]
            sys.stdout.write(f"  {variant:26}" + "".join(f"{100 * each:7.1f}" for each in cells) + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    given = sys.argv[1:] + [str(WORKERS), str(SLO_SECONDS)][len(sys.argv) - 2 :]
    main(list(VARIANTS), int(given[0]), int(given[1]), float(given[2]))
