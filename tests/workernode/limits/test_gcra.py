from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workernode.limits.gcra import Gcra


@given(
    rate=st.floats(0.1, 1000),
    tolerance=st.floats(0, 20),
    pauses=st.lists(st.floats(0, 5), min_size=1, max_size=60),
)
def test_no_span_of_time_brings_more_than_its_rate_and_one_burst(
    rate: float, tolerance: float, pauses: list[float]
) -> None:
    gcra, now, spent = Gcra(rate, tolerance, 0.0), 0.0, 0
    for pause in pauses:
        now += pause
        admitted = min(gcra.admits(now, 1.0), 50)
        for _ in range(admitted):
            gcra.spend(now, 1.0)
        spent += admitted
        assert spent <= rate * (now + tolerance) + 1 + 1e-6


@given(cost=st.floats(0.1, 100), spent=st.floats(0, 1000))
def test_after_the_wait_one_is_admitted(cost: float, spent: float) -> None:
    gcra = Gcra(2.0, 0.5, 0.0)
    gcra.spend(0.0, spent)
    wait = gcra.wait(0.0)
    assert gcra.admits(wait + 1e-6, cost) >= 1
    assert wait == 0 or gcra.admits(wait - 1e-6, cost) == 0


def test_what_is_given_back_may_be_spent() -> None:
    gcra = Gcra(1.0, 0.0, 0.0)
    gcra.spend(0.0, 10.0)
    assert gcra.wait(0.0) == 10
    gcra.correct(-4.0)
    assert gcra.wait(0.0) == 6
    gcra.correct(1.0)
    assert gcra.wait(0.0) == 7


def test_another_rate_keeps_what_was_spent_ahead_and_what_may_be() -> None:
    gcra = Gcra(1.0, 5.0, 0.0)
    gcra.spend(0.0, 10.0)
    gcra.change_rate(0.0, 5.0)
    assert (gcra.wait(0.0), gcra.tolerance) == (1.0, 1.0)


def test_a_rest_saves_up_no_more_than_the_tolerance() -> None:
    gcra = Gcra(1.0, 3.0, 0.0)
    assert gcra.admits(1000.0, 1.0) == 4
    gcra.spend(1000.0, 4.0)
    assert gcra.wait(1000.0) == pytest.approx(1.0)


@pytest.mark.parametrize(("spent", "wait"), [(2.0, 0.0), (10.0, 0.0), (15.0, 5.0)])
def test_a_smaller_tolerance_stalls_nothing_that_the_larger_one_let_go(spent: float, wait: float) -> None:
    gcra = Gcra(1.0, 10.0, 0.0)
    gcra.spend(0.0, spent)
    gcra.tighten(0.0, 1.0)
    assert gcra.wait(0.0) == wait
