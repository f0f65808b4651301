"""Who has had least is next; nobody saves up while away."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from policy.fair import FairShares

A, B, C = 1, 2, 3


def served(shares: FairShares, turns: int, tokens: float = 1.0) -> dict[int, int]:
    """How often each had its turn."""
    counts: dict[int, int] = {}
    for _ in range(turns):
        user = shares.take()
        assert user is not None
        counts[user] = counts.get(user, 0) + 1
        shares.charge(user, tokens)
    return counts


def test_nobody_waits_nobody_is_next() -> None:
    shares = FairShares()
    assert shares.take() is None
    shares.arrive(A)
    shares.leave(A)
    assert shares.take() is None


def test_parts_go_by_weight() -> None:
    shares = FairShares()
    for user, weight in ((A, 1.0), (B, 2.0), (C, 5.0)):
        shares.weight(user, weight)
        shares.arrive(user)
    assert served(shares, 800) == {A: 100, B: 200, C: 500}


def test_a_new_weight_counts_from_now_on() -> None:
    shares = FairShares()
    for user in (A, B):
        shares.arrive(user)
    assert served(shares, 10) == {A: 5, B: 5}
    shares.weight(B, 4.0)
    assert served(shares, 100) == {A: 20, B: 80}


def test_ties_go_to_whoever_has_waited_longer() -> None:
    shares = FairShares()
    for user in (C, A, B):
        shares.arrive(user)
    order = []
    for _ in range(6):
        order.append(user := shares.take() or 0)
        shares.charge(user, 1.0)
    assert order == [C, A, B, C, A, B]


def test_who_comes_back_has_saved_nothing_up() -> None:
    shares = FairShares()
    shares.arrive(A)
    served(shares, 1000)
    shares.arrive(B)
    assert shares.counters[B] == 1000
    assert served(shares, 100) == {A: 50, B: 50}


def test_who_comes_back_owes_what_it_has_had() -> None:
    shares = FairShares()
    for user in (A, B):
        shares.arrive(user)
    shares.charge(A, 50.0)
    shares.leave(A)
    shares.arrive(A)
    assert served(shares, 50) == {B: 50}


def test_where_nobody_waits_the_last_who_did_is_the_measure() -> None:
    shares = FairShares()
    shares.arrive(A)
    served(shares, 1000)
    shares.leave(A)
    shares.arrive(B)
    shares.arrive(A)
    assert served(shares, 100) == {A: 50, B: 50}


def test_too_much_is_given_back() -> None:
    shares = FairShares()
    for user in (A, B):
        shares.arrive(user)
    shares.charge(A, 100.0)
    shares.charge(A, -97.0)
    assert served(shares, 3) == {B: 3}
    assert served(shares, 10) == {A: 5, B: 5}


def test_many_charges_leave_nothing_behind() -> None:
    shares = FairShares()
    for user in (A, B):
        shares.arrive(user)
    for _ in range(10_000):
        shares.charge(B, 1.0)
    assert len(shares._heap) < 100
    assert shares.take() == A


@given(
    weights=st.tuples(st.floats(0.1, 10), st.floats(0.1, 10)),
    costs=st.lists(st.floats(1, 100), min_size=1, max_size=300),
    before=st.integers(0, 100),
)
def test_two_who_always_wait_differ_by_less_than_two_of_the_dearest_calls(
    weights: tuple[float, float], costs: list[float], before: int
) -> None:
    """The bound of the paper, for service divided by weight, over any time in which both wait."""
    shares = FairShares()
    shares.arrive(C)
    served(shares, before)
    for user, weight in zip((A, B), weights, strict=True):
        shares.weight(user, weight)
        shares.arrive(user)
    shares.leave(C)
    had = {A: 0.0, B: 0.0}
    bound = 2 * max(costs) / min(weights)
    for cost in costs:
        user = shares.take() or 0
        shares.charge(user, cost)
        had[user] += cost
        assert abs(had[A] / weights[0] - had[B] / weights[1]) <= bound + 1e-6


@given(st.integers(1, 3), st.lists(st.integers(1, 100), min_size=400, max_size=400))
@settings(max_examples=30)
def test_nobody_starves_while_newcomers_come_without_end(together: int, costs: list[int]) -> None:
    """One that has just had the dearest call waits until each turn of the others has come as far."""
    shares = FairShares()
    shares.arrive(A)
    newcomers = list(range(100, 100 + together))
    for user in newcomers:
        shares.arrive(user)
    shares.charge(A, 100.0)
    since = 0
    for cost in costs:
        user = shares.take() or 0
        shares.charge(user, cost)
        since = 0 if user == A else since + 1
        if user != A:
            shares.leave(user)
            shares.arrive(max(newcomers) + 1)
            newcomers = [*newcomers[1:], max(newcomers) + 1]
        assert since <= 101 * together


def test_an_unknown_weight_is_one() -> None:
    shares = FairShares()
    shares.charge(A, 7.0)
    assert shares.counters == pytest.approx({A: 7.0})
