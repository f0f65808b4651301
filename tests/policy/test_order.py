from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policy.order import DUE_SECONDS, PATIENCE, Offer, Order, rank

OFFERS = st.builds(
    Offer,
    task=st.integers(1, 1000),
    user=st.integers(1, 3),
    arrived_at=st.floats(0, 1e6),
    work=st.floats(0, 1e4),
    deadline=st.none() | st.floats(0, 2e6),
    priority=st.integers(-100, 100),
)
ORDERS: list[Order] = ["fcfs", "srtf", "deadline", "relaxed"]


def offer(task: int, arrived_at: float, work: float = 1.0, deadline: float | None = None, priority: int = 0) -> Offer:
    return Offer(task=task, user=1, arrived_at=arrived_at, work=work, deadline=deadline, priority=priority)


def sorted_by(order: Order, *offers: Offer) -> list[int]:
    return [each.task for each in sorted(offers, key=lambda each: rank(order, each))]


def test_first_come_first_served() -> None:
    assert sorted_by("fcfs", offer(1, 3.0), offer(2, 1.0), offer(3, 2.0)) == [2, 3, 1]


def test_the_one_with_the_least_work_left_goes_first() -> None:
    assert sorted_by("srtf", offer(1, 0.0, 30.0), offer(2, 1.0, 10.0), offer(3, 2.0, 20.0)) == [2, 3, 1]


def test_what_came_long_before_goes_before_what_is_short() -> None:
    long = offer(1, 0.0, 30.0)
    assert sorted_by("srtf", long, offer(2, 30 * PATIENCE - 1, 0.0)) == [2, 1]
    assert sorted_by("srtf", long, offer(2, 30 * PATIENCE + 1, 0.0)) == [1, 2]


def test_the_one_that_is_due_first_goes_first() -> None:
    assert sorted_by("deadline", offer(1, 0.0, deadline=30.0), offer(2, 1.0, deadline=20.0)) == [2, 1]


def test_the_one_that_is_due_last_goes_first_where_that_is_the_order() -> None:
    assert sorted_by("relaxed", offer(1, 0.0, deadline=30.0), offer(2, 1.0, deadline=20.0)) == [1, 2]
    assert sorted_by("relaxed", offer(1, 0.0, deadline=30.0), offer(2, 1.0), offer(3, 2.0)) == [3, 2, 1]


def test_one_without_a_deadline_does_not_wait_for_ever() -> None:
    without = offer(1, 0.0)
    assert sorted_by("deadline", without, offer(2, 5.0, deadline=DUE_SECONDS - 1)) == [2, 1]
    assert sorted_by("deadline", without, offer(2, 5.0, deadline=DUE_SECONDS + 1)) == [1, 2]


@pytest.mark.parametrize("order", ORDERS)
def test_ties_go_by_arrival_then_by_number(order: Order) -> None:
    due = offer(3, 1.0, deadline=DUE_SECONDS)
    assert sorted_by(order, offer(2, 0.0), offer(1, 0.0)) == [1, 2]
    assert rank("deadline", offer(4, 0.0)) < rank("deadline", due)


@pytest.mark.parametrize("order", ORDERS)
@given(one=OFFERS, other=OFFERS)
def test_priority_goes_before_everything(order: Order, one: Offer, other: Offer) -> None:
    if one.priority > other.priority:
        assert rank(order, one) < rank(order, other)
