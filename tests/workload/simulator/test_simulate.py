"""The engine beside what is known without it: by hand, from queueing theory, by counting."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Mapping, Sequence
from typing import get_args

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from policy.slo.pipeline import PolicyName
from policy.slo.planner import StagePlan
from tests.workload.simulator.sketches import DIAMOND, ONE, PROFILE, TWO, pipeline, plans
from workload.arrivals import poisson
from workload.simulator.clock import Clock
from workload.simulator.engine import Engine
from workload.simulator.requests import End, Requests
from workload.simulator.simulate import simulate
from workload.simulator.world import World

POLICIES: tuple[PolicyName, ...] = get_args(PolicyName)
HOP = 0.02


def arrivals(rate: float, count: int, seed: int = 1) -> list[float]:
    return [each.at for each in itertools.islice(poisson(rate, random.Random(seed)), count)]


@pytest.mark.parametrize(("shape", "stages"), [(ONE, 1), (TWO, 2), (DIAMOND, 3)])
def test_a_request_alone_takes_the_longest_way(shape: Mapping[str, Sequence[str]], stages: int) -> None:
    of = pipeline(shape)
    found = simulate(of, [1.0], "none", plans(of, 4, 1), hop=HOP)
    assert found.requests.ended_at[0] - 1.0 == pytest.approx(stages * (HOP + PROFILE[1]))
    assert found.figures.on_time == 1
    assert found.figures.stages["a"].batches == {1: 1}


def test_what_comes_while_a_batch_runs_is_the_next_batch() -> None:
    of = pipeline(ONE)
    found = simulate(of, [1.0, 1.05, 1.06, 1.07], "none", plans(of, 2, 1), hop=0.0)
    assert list(found.requests.ended_at) == pytest.approx([1.1, 1.25, 1.25, 1.35])
    assert found.figures.stages["a"].batches == {1: 2, 2: 1}
    assert found.figures.stages["a"].busy_seconds == pytest.approx(0.1 + 0.15 + 0.1)


@pytest.mark.parametrize("load", [0.5, 0.8])
def test_the_mean_wait_for_one_worker_is_that_of_theory(load: float) -> None:
    """M/D/1 (Pollaczek and Khinchine): ρ · service ÷ 2(1 − ρ)."""
    of = pipeline(ONE, profile={1: 0.1})
    found = simulate(of, arrivals(load / 0.1, 60_000), "none", plans(of, 1, 1), hop=0.0)
    assert found.figures.latency is not None
    wait = load * 0.1 / (2 * (1 - load))
    assert found.figures.latency.mean - 0.1 == pytest.approx(wait, rel=0.1)


def test_jitter_keeps_the_mean_and_takes_its_chance_from_the_seed() -> None:
    of = pipeline(ONE, profile={1: 0.1})
    runs = [
        simulate(of, arrivals(2, 5000), "none", plans(of, 1, 1), jitter=0.5, seed=seed).figures.stages["a"]
        for seed in (1, 1, 2)
    ]
    assert runs[0] == runs[1] != runs[2]
    assert runs[0].busy_seconds == pytest.approx(500, rel=0.05)


def test_what_is_late_is_waste_and_nothing_else_is() -> None:
    of = pipeline(TWO, slo=0.42)
    found = simulate(of, [1.0, 1.0, 1.0], "none", plans(of, 1, 1), hop=0.0)
    # Through the first stage after 0.1, 0.2, 0.3 s, through the second after 0.2, 0.3, 0.4 s.
    assert found.figures.on_time == 3
    late = simulate(pipeline(TWO, slo=0.35), [1.0, 1.0, 1.0], "none", plans(of, 1, 1), hop=0.0).figures
    assert (late.on_time, late.late) == (2, 1)
    assert late.goodput == pytest.approx(2 / 3)
    assert late.wasted == pytest.approx(1 / 3)
    assert late.stages["b"].wasted_seconds == pytest.approx(0.1)


def test_what_still_runs_in_one_branch_when_the_other_has_dropped_it_is_waste() -> None:
    """The worker of a, one after the other, has no time for the last two; those of b are busy with all five."""
    of = pipeline({"a": [], "b": []}, slo=0.35, profile={1: 0.1})
    slow = msgspec.structs.replace(of.stages[1], profile={1: 0.34})
    of = msgspec.structs.replace(of, stages=[of.stages[0], slow])
    figures = simulate(of, [1.0] * 5, "lazy", {"a": StagePlan(1, 1), "b": StagePlan(1, 5)}, hop=0.0).figures
    assert (figures.on_time, figures.dropped_at) == (3, {"door": 0, "a": 2, "b": 0})
    assert figures.stages["b"].wasted_seconds == pytest.approx(2 * 0.34)
    assert figures.stages["a"].wasted_seconds == 0


def test_the_other_branch_does_not_go_on_with_what_is_dropped_in_one() -> None:
    """Four times what the branches can do comes to them, and waits in both."""
    of = pipeline(DIAMOND, slo=1.5)
    given = {**plans(of, 1, 1), "a": StagePlan(1, 8)}
    slow = simulate(of, arrivals(40, 400), "lazy", given, hop=0.0)
    b, c = slow.figures.stages["b"], slow.figures.stages["c"]
    assert slow.figures.dropped_at["b"] + slow.figures.dropped_at["c"] > 200
    # Neither serves more than the one worker of each can in the time.
    assert b.served + c.served < b.arrived + c.arrived - 200
    assert slow.figures.on_time + slow.figures.late + slow.figures.dropped == 400


def test_what_one_of_the_first_stages_drops_does_not_come_to_the_others() -> None:
    """Both would drop it at once."""
    of = pipeline({"a": [], "b": []}, slo=0.15)
    found = simulate(of, [1.0], "pard", plans(of, 4, 1))
    assert found.figures.dropped == 1
    assert found.requests.open == 0


@settings(max_examples=60, deadline=None)
@given(
    shape=st.sampled_from([ONE, TWO, DIAMOND, {"a": [], "b": []}, {"a": [], "b": ["a"], "c": ["a"]}]),
    policy=st.sampled_from(POLICIES),
    gaps=st.lists(st.floats(0, 0.2), min_size=1, max_size=60),
    size=st.sampled_from([1, 2, 4]),
    workers=st.integers(1, 3),
    slo=st.sampled_from([0.15, 0.5, 1.0]),
    jitter=st.sampled_from([0.0, 0.3]),
    planner=st.booleans(),
    users=st.sampled_from([(), (3.0, 1.0)]),
)
def test_every_request_ends_once_and_no_work_is_lost(
    shape: Mapping[str, Sequence[str]],
    policy: PolicyName,
    gaps: list[float],
    size: int,
    workers: int,
    slo: float,
    jitter: float,
    planner: bool,
    users: Sequence[float],
) -> None:
    of = pipeline(shape, slo=slo, start_seconds=0.5)
    coming = list(itertools.accumulate(gaps))
    figures, requests, _ = simulate(
        of, coming, policy, plans(of, size, workers), hop=HOP, jitter=jitter, planner=planner, users=users
    )
    assert requests.open == 0
    assert End.OPEN not in requests.ends
    assert figures.on_time + figures.late + figures.dropped == len(coming)
    assert sum(figures.dropped_at.values()) == figures.dropped
    assert all(ended >= at for ended, at in zip(requests.ended_at, coming, strict=True))
    for stage in figures.stages.values():
        assert stage.served == sum(size * count for size, count in stage.batches.items())
        assert stage.served <= stage.arrived <= len(coming)
        assert stage.busy_seconds <= stage.worker_seconds + 1e-9
        assert -1e-9 <= stage.wasted_seconds <= stage.busy_seconds + 1e-9
    if figures.on_time == len(coming):
        assert figures.wasted == 0
    if policy == "none":
        assert figures.dropped == 0
        assert all(stage.served == len(coming) for stage in figures.stages.values())


@pytest.mark.parametrize("policy", POLICIES)
def test_nothing_is_out_when_all_is_over(policy: PolicyName) -> None:
    of = pipeline(DIAMOND, slo=0.8)
    requests = Requests(arrivals(40, 2000), of.slo_seconds, ())
    world = World(Clock(HOP / 2), requests, policy, 0.2, random.Random(1))
    engine = Engine(of, world, plans(of, 4, 1), planner=False)
    engine.run()
    assert [front.outstanding for front in engine.fronts.values()] == [0, 0, 0, 0]


def test_the_same_seed_is_the_same_result() -> None:
    of = pipeline(TWO)
    coming = arrivals(60, 3000)
    first, again = (
        simulate(of, coming, "agentos", plans(of, 4, 2), jitter=0.2, planner=True, users=[2, 1], seed=3)
        for _ in range(2)
    )
    assert first.figures == again.figures
    assert first.requests.ended_at == again.requests.ended_at
    assert first.changes == again.changes


def test_a_user_with_little_is_not_drowned_by_one_with_much() -> None:
    of = pipeline(ONE, slo=1.0)
    figures = simulate(of, arrivals(80, 8000), "none", plans(of, 4, 2), users=[9, 1]).figures
    much, little = figures.users
    assert much.offered > 8 * little.offered
    assert much.on_time / much.offered < 0.2
    assert little.on_time / little.offered > 0.95


def test_a_fixed_fleet_costs_its_time() -> None:
    of = pipeline(ONE)
    figures = simulate(of, arrivals(10, 500), "none", plans(of, 4, 3)).figures
    assert figures.worker_seconds == pytest.approx(3 * figures.seconds)


def test_the_planner_follows_the_load_and_its_workers_cost_from_when_they_are_ordered() -> None:
    of = pipeline(ONE, start_seconds=5.0, most=20)
    quiet = arrivals(2, 200)
    busy = [100 + at for at in arrivals(60, 3000)]
    calm = [160 + at for at in arrivals(2, 400)]
    coming = sorted([at for at in quiet if at < 100] + [at for at in busy if at < 150] + calm)
    found = simulate(of, coming, "agentos", plans(of, 1, 1), planner=True)
    counts = [(at, plan.stages["a"].workers) for at, plan in found.changes]
    most = max(count for _, count in counts)
    assert most >= 60 * PROFILE[4] / 4
    assert next(at for at, count in counts if count == most) < 150
    assert counts[-1][1] <= 2
    ordered = sum(
        count * (until - at)
        for (at, count), until in zip(counts, [*(at for at, _ in counts[1:]), found.figures.seconds], strict=True)
    )
    # From the first order on; before it there was one; what leaves first ends its batch.
    assert found.figures.worker_seconds == pytest.approx(ordered + counts[0][0], rel=0.02)
    early = [request for request, at in enumerate(coming) if 110 < at < 140]
    assert sum(found.requests.ends[request] == End.ON_TIME for request in early) > 0.9 * len(early)


def test_a_worker_that_goes_leaves_what_has_not_begun_to_the_others() -> None:
    """From three workers to one, at the first look of the planner, while all are busy."""
    of = pipeline(ONE, slo=100.0, profile={1: 2.0, 4: 2.0}, most=1)
    found = simulate(of, [0.5 + 0.001 * number for number in range(40)], "none", plans(of, 4, 3), planner=True)
    assert found.figures.on_time == 40
    assert found.figures.stages["a"].served == 40
    assert found.figures.worker_seconds < 3 * found.figures.seconds - 2


def test_no_requests_are_no_trouble() -> None:
    of = pipeline(ONE)
    figures = simulate(of, [], "agentos", plans(of, 4, 1)).figures
    assert (figures.offered, figures.goodput, figures.latency) == (0, 0.0, None)


def test_a_request_ends_on_time_to_the_moment() -> None:
    requests = Requests([1.0, 1.0], 0.5, ())
    requests.open = 2
    assert requests.finish(0, 1.5)
    assert not requests.finish(1, math.nextafter(1.5, 2))
