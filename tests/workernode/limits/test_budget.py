from __future__ import annotations

from workernode.limits.budget import CELL, FLOOR, WINDOW, RetryBudget


def retries(budget: RetryBudget, now: float, wanted: int) -> int:
    return sum(budget.retry(now) == 0.0 for _ in range(wanted))


def test_a_few_retries_are_always_allowed() -> None:
    assert retries(RetryBudget(), 0.0, 100) == FLOOR


def test_an_outage_is_not_multiplied() -> None:
    budget = RetryBudget()
    for number in range(1000):
        budget.request(number * WINDOW / 1000)
    assert retries(budget, WINDOW - 0.01, 1000) == 100


def test_what_is_long_ago_does_not_count() -> None:
    budget = RetryBudget()
    for _ in range(1000):
        budget.request(0.0)
    later = WINDOW + 1
    assert retries(budget, later, 1000) == FLOOR
    assert retries(budget, later + WINDOW + 1, 1000) == FLOOR


def test_it_says_when_to_ask_again() -> None:
    budget = RetryBudget()
    retries(budget, 0.0, FLOOR)
    now = 1.0
    while wait := budget.retry(now):
        assert 0 < wait <= CELL
        now += wait
    assert WINDOW <= now <= WINDOW + 2 * CELL
