from __future__ import annotations

import pytest

from workload.gateway_figures import StageFigures
from workload.report import Outcome
from workload.snapshot import RECENT, Watch

STAGES = {"a": StageFigures(waiting=4)}


def answered(due: float, seconds: float) -> Outcome:
    return Outcome(due, due, due + seconds)


def test_counts_are_from_the_start() -> None:
    watch = Watch(1.0)
    outcomes = [answered(0, 0.5), answered(0, 2.0)]
    watch.look(1.0, 3, outcomes, {})
    outcomes.append(Outcome(1, 1, error="broken"))
    now = watch.look(2.0, 5, outcomes, STAGES)
    assert (now.offered, now.open, dict(now.ended)) == (5, 2, {"on_time": 1, "late": 1, "failed": 1})
    assert now.goodput_so_far == pytest.approx(1 / 3)
    assert now.stages == STAGES


def test_rates_and_latencies_are_of_late() -> None:
    watch = Watch(1.0)
    outcomes = [answered(0, 5.0)] * 100
    now = watch.look(1.0, 100, outcomes, {})
    assert (now.goodput, now.offered_per_second) == (0, 100)
    for second in range(RECENT):
        outcomes.append(answered(second, 0.5))
        now = watch.look(2.0 + second, 101 + second, outcomes, {})
    assert now.goodput == 1
    assert now.offered_per_second == 1
    assert now.latency is not None
    assert now.latency.max == 0.5
    assert now.goodput_so_far == pytest.approx(RECENT / (100 + RECENT))


def test_where_nothing_has_ended_there_is_no_part_of_it() -> None:
    now = Watch(1.0).look(0.0, 0, [], {})
    assert (now.goodput, now.goodput_so_far, now.dropped, now.latency, now.offered_per_second) == (
        *(None,) * 4,
        0,
    )
