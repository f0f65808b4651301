from __future__ import annotations

import pytest

from policy.slo.outlook import outlook
from policy.slo.pipeline import Pipeline, Stage
from policy.slo.watch import SPAN_SECONDS, StageWatch
from tests.policy.slo.seen import PLAIN


def watch(workers: int = 1) -> StageWatch:
    """Each worker does four in 2.5 s: 1.6 a second."""
    return StageWatch(PLAIN, 4, workers)


def steady(some: StageWatch, since: int, until: int, each: int) -> None:
    for second in range(since, until):
        some.arrived(float(second), each)


def test_the_rate_is_that_of_the_last_whole_seconds() -> None:
    some = watch()
    steady(some, 0, 10, 3)
    some.arrived(10.5, 100)
    assert some.rate(10.6) == 3.0
    assert some.rate(11.0) == (4 * 3 + 100) / 5
    assert some.rate(100.0) == 0.0


def test_waits_are_means_of_late_and_are_forgotten() -> None:
    some = watch()
    some.left_gate(10.0, [1.0, 3.0])
    some.batch(10.0, hops=[0.5, 1.5], waits=[0.0, 4.0])
    assert (some.queue_wait(10.0), some.hop(10.0), some.batch_wait(10.0)) == (2.0, 1.0, 2.0)
    seen = some.sight(10.0, (0.0, 0.0), outstanding=3)
    assert seen.wait == 3.0
    later = 10.0 + SPAN_SECONDS + 1
    assert (some.queue_wait(later), some.hop(later), some.batch_wait(later)) == (0.0, 0.0, 0.0)


def test_the_tenth_percentile_is_that_of_the_samples() -> None:
    some = watch()
    some.batch(10.0, hops=[], waits=[number / 10 for number in range(20, 0, -1)])
    assert some.batch_wait_p10(10.0) == 0.2


def test_the_mode_changes_beyond_the_noise_alone() -> None:
    some = watch(workers=5)  # 8 a second
    assert some.mode(0.0) == "normal"
    steady(some, 0, 5, 9)
    assert some.mode(5.0) == "overload"
    for second, count in zip(range(5, 10), (0, 13, 2, 14, 1), strict=True):  # 6 a second, give or take all of it
        some.arrived(float(second), count)
    assert some.mode(10.0) == "overload"
    steady(some, 10, 15, 7)
    assert some.mode(15.0) == "normal"
    for second, count in zip(range(15, 20), (10, 14, 9, 4, 13), strict=True):  # 10 a second, and ε = 0.28
        some.arrived(float(second), count)
    assert some.mode(20.0) == "normal"


def test_exactly_as_much_as_can_be_done_changes_nothing() -> None:
    some = watch(workers=5)
    steady(some, 0, 5, 9)
    assert some.mode(5.0) == "overload"
    steady(some, 5, 10, 8)
    assert some.mode(10.0) == "overload"


def stage(name: str, *after: str) -> Stage:
    return Stage(id=name, model=name, profile=PLAIN.points(), after=list(after))


DIAMOND = Pipeline(
    name="d",
    slo_seconds=10.0,
    stages=[stage("a"), stage("b", "a"), stage("c", "a"), stage("d", "b", "c")],
)


def test_the_outlook_is_the_longest_path_of_queueing_execution_and_the_shortest_waits() -> None:
    watches = {name: watch() for name in "abcd"}
    watches["b"].left_gate(1.0, [1.0])
    watches["c"].left_gate(1.0, [0.5])
    watches["d"].batch(1.0, hops=[0.25], waits=[2.0, 4.0])
    watches["a"].left_gate(1.0, [100.0])
    found = outlook(DIAMOND, watches, 1.0)
    last = 0.25 + 2.5 + 2.0
    assert found["d"] == (0.0, 0.0)
    assert found["b"] == found["c"]
    assert found["b"] == pytest.approx((last, 1.0))
    assert found["a"] == pytest.approx((1.0 + 2.5 + last, 2.0))
