"""The planner and the tuner in the fleet's simulation: what they promise holds, and what they save."""

from __future__ import annotations

import math
import random
from array import array
from collections.abc import Callable, Sequence

import msgspec
import pytest

from policy.slo.pipeline import Pipeline, PolicyName, Stage, Workers, checked
from policy.slo.planner import plan
from workload.simulator.simulate import simulate

SECONDS = {1: 0.069, 2: 0.117, 4: 0.209, 8: 0.396, 16: 0.771, 32: 1.544}


def stage(id: str, *after: str, start: float = 2.9) -> Stage:
    workers = Workers(least=1, most=200)
    return Stage(id=id, model=f"m-{id}", profile=SECONDS, after=list(after), workers=workers, start_seconds=start)


ONE = checked(Pipeline(name="one", slo_seconds=0.8, stages=[stage("a")]))
TWO = checked(Pipeline(name="two", slo_seconds=1.6, stages=[stage("a"), stage("b", "a")]))
FORK = [stage("a"), stage("b", "a"), stage("c", "a"), stage("d", "b", "c")]
DIAMOND = checked(Pipeline(name="diamond", slo_seconds=2.4, stages=FORK))


def arrivals(rate: Callable[[float], float], most: float, seconds: float, seed: int = 5) -> Sequence[float]:
    """Random arrivals at a rate that changes, by thinning (Lewis and Shedler 1979)."""
    chance, now, found = random.Random(seed), 0.0, array("d")
    while (now := now + chance.expovariate(most)) < seconds:
        if chance.random() * most < rate(now):
            found.append(now)
    return found


@pytest.mark.parametrize("pipeline", [ONE, TWO, DIAMOND], ids=lambda each: each.name)
@pytest.mark.parametrize("rate", [4.0, 120.0])
@pytest.mark.parametrize("policy", ["none", "pard"])
def test_a_planned_fleet_serves_its_load_in_time(pipeline: Pipeline, rate: float, policy: PolicyName) -> None:
    made = plan(pipeline, rate)
    assert made.feasible
    load = arrivals(lambda _: rate, rate, 3000 / rate)
    assert simulate(pipeline, load, policy, made.stages).figures.goodput >= 0.985


@pytest.mark.parametrize("pipeline", [ONE, TWO], ids=lambda each: each.name)
def test_a_worker_less_would_not_do(pipeline: Pipeline) -> None:
    made = plan(pipeline, 120.0)
    less = {name: msgspec.structs.replace(each, workers=each.workers - 2) for name, each in made.stages.items()}
    load = arrivals(lambda _: 120.0, 120.0, 60.0)
    assert simulate(pipeline, load, "lazy", less).figures.goodput < 0.95


@pytest.mark.parametrize("pipeline", [ONE, TWO], ids=lambda each: each.name)
def test_a_load_in_waves_is_served_at_half_the_cost_of_a_fleet_for_its_peak(pipeline: Pipeline) -> None:
    def wave(now: float) -> float:
        """Quiet for long, then up to 150 a second: a mean of 36."""
        return 10 + 140 * max(0.0, math.sin(now * 2 * math.pi / 600)) ** 4

    load = arrivals(wave, 150.0, 600.0)
    fixed = simulate(pipeline, load, "lazy", plan(pipeline, 150.0).stages).figures
    planned = simulate(pipeline, load, "lazy", plan(pipeline, 10.0).stages, planner=True).figures
    assert fixed.goodput >= 0.99
    assert planned.goodput >= fixed.goodput - 0.01
    assert planned.worker_seconds <= fixed.worker_seconds / 2


def test_a_step_costs_no_more_than_the_start_of_its_workers() -> None:
    load = arrivals(lambda now: 100.0 if now >= 60 else 5.0, 100.0, 180.0)
    stages = plan(ONE, 5.0).stages
    planned = simulate(ONE, load, "lazy", stages, planner=True).figures
    lost = (1 - planned.goodput) * len(load)
    assert lost <= 100 * (2.9 + 4.0)  # what came while they started, and before it was seen
