"""When plans change: up at once, down late."""

from __future__ import annotations

import math
import random

import pytest

from policy.slo.bursts import MEMORY_SECONDS, Bursts
from policy.slo.offered import Offered
from policy.slo.pipeline import Pipeline, Stage, Workers, checked
from policy.slo.planner import Plan
from policy.slo.tuner import HOLD_SECONDS, IDLE_SECONDS, Tuner

SECONDS = {1: 0.069, 2: 0.117, 4: 0.209, 8: 0.396, 16: 0.771, 32: 1.544}


def pipeline(*, least: int = 1, most: int = 60, start: float = 0.0) -> Pipeline:
    first = Stage(id="a", model="m", profile=SECONDS, workers=Workers(least=least, most=most), start_seconds=start)
    return checked(Pipeline(name="p", slo_seconds=1.0, stages=[first]))


class Hours:
    """A load, second by second: the plans that came of it, with their times."""

    def __init__(self, tuner: Tuner) -> None:
        self.tuner = tuner
        self.now = 1_000_000.0
        self.changes: list[tuple[float, Plan]] = []
        self._random = random.Random(3)

    def go(self, seconds: float, rate: float, *, chance: bool = False) -> None:
        """Requests come at this rate: evenly, or as chance has it."""
        until, due = self.now + seconds, self.now + 0.1
        while self.now < until - 1e-6:
            self.now += 0.1
            self.tuner.offered(self.now, self._count(rate / 10, chance))
            if self.now > due:
                due += 0.5
                if (changed := self.tuner.due(self.now)) is not None:
                    self.changes.append((self.now, changed))

    def _count(self, mean: float, chance: bool) -> int:
        if not chance:
            return math.floor(self.now * 10 * mean + 1e-6) - math.floor((self.now * 10 - 1) * mean + 1e-6)
        left, count = math.exp(-mean), 0
        product = self._random.random()
        while product > left:
            product *= self._random.random()
            count += 1
        return count

    @property
    def workers(self) -> int:
        assert self.tuner.plan is not None
        return self.tuner.plan.stages["a"].workers


def test_the_first_plan_is_there_at_once() -> None:
    hours = Hours(Tuner(pipeline(least=2)))
    hours.go(1, 0)
    [(_, first)] = hours.changes
    assert first.stages["a"].workers == 2


def test_a_burst_is_followed_within_a_second() -> None:
    hours = Hours(Tuner(pipeline()))
    hours.go(60, 10)
    before = hours.workers
    hours.go(1, 400)
    assert hours.workers > 5 * before


def test_a_slow_rise_is_followed_too() -> None:
    hours = Hours(Tuner(pipeline()))
    for rate in range(5, 205, 5):
        hours.go(4, rate)
    assert hours.tuner.plan is not None
    assert hours.tuner.plan.rate >= 200 * 0.95
    assert hours.tuner.plan.feasible


def test_less_load_takes_workers_away_only_when_it_has_lasted() -> None:
    hours = Hours(Tuner(pipeline()))
    hours.go(30, 400)
    high, ended = hours.workers, hours.now
    hours.go(HOLD_SECONDS - 1, 10)
    assert hours.workers == high
    hours.go(HOLD_SECONDS + 32, 10)
    assert hours.workers < high / 5
    assert hours.changes[-1][0] - ended >= HOLD_SECONDS


def test_a_burst_that_comes_again_finds_its_workers() -> None:
    hours = Hours(Tuner(pipeline()))
    for _ in range(4):
        hours.go(2, 300)
        hours.go(HOLD_SECONDS * 0.8, 5)
    falls = [
        now
        for (_, before), (at, after) in zip(hours.changes, hours.changes[1:], strict=False)
        if after.stages["a"].workers < before.stages["a"].workers
        for now in (at,)
    ]
    assert falls == []


def test_short_bursts_that_come_again_find_workers_and_are_forgotten_in_the_end() -> None:
    hours = Hours(Tuner(pipeline(start=3.0)))
    hours.go(60, 5)
    found = []
    for _ in range(6):
        found.append(hours.workers)
        hours.go(1.5, 400)
        hours.go(60, 5)
    assert found[0] == found[1] == 1  # the first could not be known
    assert min(found[2:]) >= 8
    hours.go(MEMORY_SECONDS + HOLD_SECONDS + 2, 5)
    assert hours.workers == 1


def test_a_load_that_rises_once_is_no_burst_that_comes_again() -> None:
    hours = Hours(Tuner(pipeline(start=3.0)))
    hours.go(60, 5)
    hours.go(60, 300)
    hours.go(2 * HOLD_SECONDS + 32, 5)
    assert hours.workers == 1


def test_where_workers_take_long_to_start_they_are_kept_longer() -> None:
    hours = Hours(Tuner(pipeline(start=60.0)))
    hours.go(30, 400)
    high = hours.workers
    hours.go(150, 10)
    assert hours.workers == high
    hours.go(100, 10)
    assert hours.workers < high


def test_a_steady_random_load_settles() -> None:
    hours = Hours(Tuner(pipeline()))
    hours.go(120, 50, chance=True)
    settled = len(hours.changes)
    hours.go(600, 50, chance=True)
    assert len(hours.changes) - settled <= 8  # chance alone, ten minutes long
    assert hours.tuner.plan is not None
    assert 50 <= hours.tuner.plan.rate <= 100


@pytest.mark.parametrize("start", [0.0, 20.0])
def test_no_workers_are_left_when_nothing_has_come_for_long(start: float) -> None:
    hours = Hours(Tuner(pipeline(least=0, start=start)))
    hours.go(1, 0)
    assert hours.workers == 0
    hours.go(0.6, 5)
    assert hours.workers > 0
    idle = max(IDLE_SECONDS, 10 * start)
    hours.go(idle - 1, 0)
    assert hours.workers == 1
    hours.go(60 + 3 * start, 0)
    assert hours.workers == 0


def test_what_is_not_done_yet_keeps_a_worker() -> None:
    hours = Hours(Tuner(pipeline(least=0)))
    hours.go(1, 2)
    for _ in range(20):
        hours.tuner.busy(hours.now)
        hours.go(10, 0)
    assert hours.workers == 1


def test_while_it_rises_no_stage_loses_workers() -> None:
    hours = Hours(Tuner(pipeline()))
    rate = 1.0
    while rate < 500:
        hours.go(3, rate)
        rate *= 1.07
    counts = [changed.stages["a"].workers for _, changed in hours.changes]
    assert counts == sorted(counts)


def test_a_load_that_cannot_be_served_is_told_once() -> None:
    hours = Hours(Tuner(pipeline(most=2)))
    hours.go(20, 400)
    assert [changed.feasible for _, changed in hours.changes][-1] is False
    last = hours.changes[-1][1].stages["a"].workers
    assert last == 2


def test_a_new_description_keeps_what_is_known_of_the_load() -> None:
    hours = Hours(Tuner(pipeline()))
    hours.go(30, 100)
    again = Tuner(pipeline(most=30), seen=hours.tuner.seen).due(hours.now)
    assert again is not None
    assert again.rate >= 100


def test_requests_told_one_by_one_or_together_are_the_same_load() -> None:
    single, together = Offered(), Offered()
    for step in range(600):
        for _ in range(3):
            single.add(100.01 + step / 10, 1)
        together.add(100.05 + step / 10, 3)
    assert single.rate(160) == together.rate(160)
    assert 28 <= single.rate(160) <= 30


def test_a_single_request_is_no_load() -> None:
    seen = Offered()
    seen.add(50.0, 1)
    assert 0 < seen.rate(50.1) < 1
    assert seen.rate(100.0) == 0


def bursts(*times: float, count: int = 100) -> Bursts:
    made = Bursts(patience=1.0)
    made.served = 10.0
    for at in times:
        made.add(at, count)
    return made


def test_the_worst_burst_is_left_out() -> None:
    assert bursts(100.0).lost(101.0, 0.0) == 0
    assert bursts(100.0, 103.0).lost(104.0, 0.0) == 0  # one, in two parts
    assert bursts(100.0, 150.0).lost(151.0, 0.0) == pytest.approx((100 - 15) / 200)


def test_with_more_workers_less_is_lost() -> None:
    losses = [bursts(100.0, 150.0, 200.0).lost(201.0, least) for least in (0.0, 20.0, 40.0, 100 / 1.5)]
    assert losses == sorted(losses, reverse=True)
    assert losses[0] > losses[1] > losses[2] > losses[3] == 0


def test_what_was_served_then_counts_for_then() -> None:
    made = bursts(100.0, 150.0)
    made.served = 1000.0
    made.add(200.0, 100)
    assert made.lost(201.0, 0.0) == pytest.approx((100 - 15) / 300)


def test_bursts_of_long_ago_are_forgotten() -> None:
    made = bursts(100.0, 150.0)
    assert made.lost(100.0 + MEMORY_SECONDS + 1, 0.0) == 0
    assert made.lost(10_000.0, 0.0) == 0
