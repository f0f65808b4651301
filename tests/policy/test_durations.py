from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policy.durations import HORIZON_SECONDS, PRIOR_SECONDS, Durations, Rate


def test_before_the_first_there_is_a_guess() -> None:
    assert Durations().expect("m") == PRIOR_SECONDS
    assert Durations(500.0).expect("m") == 500.0


def test_the_first_is_believed() -> None:
    durations = Durations()
    durations.learn("m", 0.2)
    assert durations.expect("m") == 0.2
    assert durations.expect("other") == PRIOR_SECONDS


def test_it_is_the_mean_of_what_varies() -> None:
    durations, chance = Durations(), random.Random(1)
    for _ in range(2000):
        durations.learn("m", chance.uniform(1.0, 3.0))
    assert durations.expect("m") == pytest.approx(2.0, rel=0.15)


def test_an_odd_one_counts_for_little() -> None:
    durations = Durations()
    for _ in range(100):
        durations.learn("m", 1.0)
    durations.learn("m", 600.0)
    assert durations.expect("m") < 1.3
    durations.learn("m", 0.0)
    assert durations.expect("m") > 0.9


@pytest.mark.parametrize(("before", "after"), [(1.0, 60.0), (60.0, 1.0), (0.0, 10.0), (10.0, 0.01)])
def test_what_has_changed_for_good_is_learned(before: float, after: float) -> None:
    durations = Durations()
    for _ in range(200):
        durations.learn("m", before)
    for _ in range(300):
        durations.learn("m", after)
    assert durations.expect("m") == pytest.approx(after, rel=0.05)


@given(st.lists(st.floats(0, 1e6), min_size=1))
def test_it_is_a_figure_above_nothing_and_within_what_was_seen(seen: list[float]) -> None:
    durations = Durations()
    for seconds in seen:
        durations.learn("m", seconds)
    assert 0 < durations.expect("m") <= max(*seen, 1e-3) * (1 + 1e-9)


def test_before_the_first_nothing_has_ended() -> None:
    assert Rate().per_second(5.0) == 0.0


@pytest.mark.parametrize("seconds", [2, 10, 100])
def test_a_steady_rate_is_seen_for_what_it_is_however_long_it_has_gone_on(seconds: int) -> None:
    rate = Rate()
    for step in range(seconds * 10 + 1):
        rate.finished(50.0 + step / 10, 3)
    assert rate.per_second(50.0 + seconds) == pytest.approx(30.0, rel=0.1)


def test_a_burst_is_not_taken_for_more_than_a_second_of_it() -> None:
    rate = Rate()
    rate.finished(1.0, 40)
    assert rate.per_second(1.0) == pytest.approx(40, rel=0.1)


def test_what_ended_long_ago_is_forgotten() -> None:
    rate = Rate()
    rate.finished(0.0, 1000)
    assert rate.per_second(10 * HORIZON_SECONDS) < 0.01
