"""The planner, against looking at everything, and against queues that are played out."""

from __future__ import annotations

import heapq
import itertools
import random
import time
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policy.slo.choices import BUSY, choices
from policy.slo.pipeline import Pipeline, Stage, Workers, checked
from policy.slo.planner import Plan, StagePlan, plan
from policy.slo.profile import Profile
from policy.slo.queueing import wait
from policy.slo.search import cheapest, through

SECONDS = {1: 0.069, 2: 0.117, 4: 0.209, 8: 0.396, 16: 0.771, 32: 1.544}


def stage(id: str, after: Sequence[str] = (), *, least: int = 1, most: int = 60, **fields: object) -> Stage:
    given: dict[str, object] = {"profile": SECONDS, **fields}
    return Stage(id=id, model=f"m-{id}", after=list(after), workers=Workers(least=least, most=most), **given)  # type: ignore[arg-type]


def pipeline(slo: float, *stages: Stage) -> Pipeline:
    return checked(Pipeline(name="p", slo_seconds=slo, stages=list(stages)))


def chain(slo: float, count: int, **fields: object) -> Pipeline:
    made = [stage(f"s{at}", [f"s{at - 1}"] if at else [], **fields) for at in range(count)]  # type: ignore[arg-type]
    return pipeline(slo, *made)


DIAMOND = pipeline(2.0, stage("a"), stage("b", ["a"]), stage("c", ["a"], cost=3.0), stage("d", ["b", "c"]))


def sustained(made: Plan, described: Pipeline) -> float:
    """Requests a second of the weakest stage."""
    return min(
        made.stages[each.id].workers * Profile(each.profile).throughput(made.stages[each.id].size)
        for each in described.stages
    )


@given(
    slo=st.floats(0.3, 6),
    rate=st.floats(0.5, 300),
    costs=st.lists(st.sampled_from([0.5, 1.0, 2.5]), min_size=1, max_size=3),
    fork=st.booleans(),
)
def test_no_other_choice_is_cheaper_and_in_time(slo: float, rate: float, costs: list[float], fork: bool) -> None:
    stages = [
        stage(f"s{at}", [] if not at else ["s0"] if fork else [f"s{at - 1}"], cost=cost)
        for at, cost in enumerate(costs)
    ]
    described = pipeline(slo, *stages)
    found = {each.id: choices(each, Profile(each.profile), rate, hop=0.05, limit=slo) for each in described.stages}
    every = [dict(zip(found, chosen, strict=True)) for chosen in itertools.product(*found.values())]
    costs_in_time = [sum(c.cost for c in each.values()) for each in every if through(described, each) <= slo]
    made = plan(described, rate)
    assert made.feasible is bool(costs_in_time)
    if costs_in_time:
        cost = sum(made.stages[each.id].workers * each.cost for each in described.stages)
        assert cost == pytest.approx(min(costs_in_time))
        assert made.seconds <= slo
        assert sustained(made, described) * BUSY >= rate * (1 - 1e-9)


def test_of_equal_costs_the_fastest_is_taken() -> None:
    assert plan(chain(4.0, 1), 5.0).stages["s0"] == StagePlan(size=1, workers=1)


def test_more_time_makes_larger_batches_and_less_workers() -> None:
    tight, wide = plan(chain(0.5, 1), 100.0), plan(chain(1.0, 1), 100.0)
    assert tight.stages["s0"] == StagePlan(size=2, workers=7)
    assert wide.stages["s0"] == StagePlan(size=8, workers=6)


def test_the_time_goes_to_the_stage_where_it_saves_most() -> None:
    made = plan(pipeline(1.1, stage("cheap"), stage("dear", ["cheap"], cost=10.0)), 100.0).stages
    assert made["dear"].workers < made["cheap"].workers
    assert made["dear"].size > made["cheap"].size


def test_the_longest_way_of_a_graph_counts_and_not_the_sum() -> None:
    made = plan(DIAMOND, 100.0)
    assert made.feasible
    assert made.seconds <= 2.0
    four = plan(chain(2.0, 4), 100.0)
    assert sum(each.workers for each in made.stages.values()) < sum(each.workers for each in four.stages.values())


def test_without_load_each_stage_has_its_least() -> None:
    made = plan(pipeline(1.0, stage("a", least=2), stage("b", ["a"], least=0)), 0.0)
    assert made.stages == {"a": StagePlan(1, 2), "b": StagePlan(1, 0)}
    assert made.feasible


def test_the_least_load_needs_a_worker_of_each_stage() -> None:
    assert plan(chain(1.0, 2, least=0), 0.001).stages["s1"].workers == 1


def test_bounds_hold() -> None:
    assert plan(chain(1.0, 1, least=9), 1.0).stages["s0"].workers == 9
    assert plan(chain(1.0, 1, most=3), 400.0).stages["s0"].workers == 3


def test_more_load_than_the_workers_bear_gets_what_serves_most_in_time() -> None:
    made = plan(chain(1.0, 2, most=6), 1000.0)
    assert not made.feasible
    assert "sustain" in made.reason
    assert "of 1000 requests a second" in made.reason
    assert [each.workers for each in made.stages.values()] == [6, 6]
    assert made.seconds <= 1.0
    assert made.rate == 1000.0


def test_an_slo_that_a_request_alone_misses_gets_the_fastest() -> None:
    made = plan(chain(0.2, 2, most=60), 100.0)
    assert not made.feasible
    assert made.reason == "a request alone takes 0.238 s; the SLO is 0.2 s"
    assert made.stages["s0"] == StagePlan(size=1, workers=9)


def test_it_takes_no_size_that_was_not_measured() -> None:
    made = plan(chain(10.0, 1, profile={3: 0.1, 7: 0.2}), 60.0)
    assert made.stages["s0"].size in (1, 3, 7)


def test_twenty_stages_with_a_thousand_sizes_are_planned_in_bounded_time() -> None:
    profile = {size: 0.05 + 0.02 * size**0.9 for size in range(1, 1025)}
    described = chain(20.0, 20, most=10_000, profile=profile)
    began = time.process_time()
    rates = (1.0, 1000.0, 1e7)
    made = [plan(described, rate) for rate in rates]
    assert time.process_time() - began < 10  # a third of a second, where nobody else computes
    assert [each.feasible for each in made] == [True, True, False]
    assert all(each.seconds <= 20.0 for each in made)


def test_where_looking_ends_early_the_answer_still_fits() -> None:
    profile = {size: 0.05 + 0.02 * size**0.9 for size in range(1, 65)}
    described = pipeline(
        20.0, *(stage(f"s{at}", [f"s{at - 1}"] if at else [], cost=1 + at / 7, profile=profile) for at in range(20))
    )
    found = {each.id: choices(each, Profile(profile), 50.0, hop=0.05, limit=20.0) for each in described.stages}
    best = cheapest(described, found)
    assert best is not None
    assert through(described, best) <= 20.0
    fastest = {name: each[-1] for name, each in found.items()}
    assert sum(each.cost for each in best.values()) < sum(each.cost for each in fastest.values())


@pytest.mark.parametrize(("rate", "slo"), [(5, 0.5), (20, 0.5), (50, 1.0), (100, 0.4), (400, 0.5), (400, 1.0)])
def test_what_is_planned_holds_where_it_is_played_out(rate: float, slo: float) -> None:
    made = plan(chain(slo, 1), rate, hop=0.0)
    assert made.feasible
    took = sorted(played(rate, made.stages["s0"]))
    assert took[round(len(took) * 0.99)] <= made.seconds <= 1.25 * took[round(len(took) * 0.99)]


def played(rate: float, given: StagePlan, requests: int = 20_000) -> list[float]:
    """Seconds of each request: random arrivals, full batches in order, to whichever worker is free first."""
    chance, profile = random.Random(7), Profile(SECONDS)
    arrived = list(itertools.accumulate(chance.expovariate(rate) for _ in range(requests)))
    free = [0.0] * given.workers
    took: list[float] = []
    for first in range(0, requests - given.size, given.size):
        batch = arrived[first : first + given.size]
        end = max(heapq.heappop(free), batch[-1]) + profile.seconds(given.size)
        heapq.heappush(free, end)
        took += [end - each for each in batch]
    return took


def test_waiting_grows_with_the_load_and_shrinks_with_workers() -> None:
    times = [wait(2, busy, 1.0, 0.5) for busy in (0.2, 0.5, 0.8, 0.95)]
    assert times == sorted(times)
    assert times[0] < times[-1]
    assert [wait(count, 0.8, 1.0, 0.5) > 0 for count in (1, 4, 500)] == [True, True, False]


def test_one_worker_waits_as_the_exact_formula_says() -> None:
    # M/M/1: the 99th percentile of the wait is ln(rho / 0.01) / (mu - lambda). (Sakasegawa is exact there.)
    assert wait(1, 0.5, 1.0, 1.0) == pytest.approx(7.824046)
