"""The line against a list that is searched from end to end; and what it costs when it is long."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policy.fair import FairShares
from policy.line import Line
from policy.order import Offer, Order, rank

ORDERS: list[Order] = ["fcfs", "srtf", "deadline", "relaxed"]
USERS, TASKS = 3, 7


def offer(task: int, user: int = 1, work: float = 1.0, **figures: Any) -> Offer:
    return Offer(task=task, user=user, arrived_at=float(task), work=work, **figures)


def drained(line: Line) -> list[tuple[int, str]]:
    """All that is left, in order."""
    return list(iter(line.pop, None))


@dataclass
class Naive:
    """The same rules, read off the whole."""

    order: Order
    apart: bool
    nodes: list[tuple[int, str, float]] = field(default_factory=list)
    offers: dict[int, Offer] = field(default_factory=dict)
    counters: dict[int, float] = field(default_factory=dict)
    tickets: dict[int, int] = field(default_factory=dict)
    ticket: int = 0
    level: float = 0.0
    taken: int | None = None

    def waiting(self) -> set[int]:
        return {self.user(task) for task, _, _ in self.nodes}

    def user(self, task: int) -> int:
        return self.offers[task].user if self.apart else 0

    def push(self, offer: Offer, node: str, length: float) -> None:
        waiting = self.waiting()
        self.offers[offer.task] = offer
        user = self.user(offer.task)
        if user not in waiting:
            least = min((self.counters.get(each, 0.0) for each in waiting), default=self.level)
            self.counters[user] = max(self.counters.get(user, 0.0), self.level, least)
            self.stand(user)
        self.nodes.append((offer.task, node, length))

    def stand(self, user: int) -> None:
        self.ticket += 1
        self.tickets[user] = self.ticket

    def update(self, offer: Offer) -> None:
        if offer.task in self.offers:
            self.offers[offer.task] = offer

    def pop(self) -> tuple[int, str] | None:
        if not self.nodes:
            return None
        user = min(self.waiting(), key=lambda each: (self.counters.get(each, 0.0), self.tickets[each]))
        mine = [each for each in self.nodes if self.user(each[0]) == user]
        taken = min(mine, key=lambda each: (rank(self.order, self.offers[each[0]]), -each[2]))
        self.nodes.remove(taken)
        self.taken = user
        return taken[:2]

    def drop(self, task: int) -> set[str]:
        gone = {each[1] for each in self.nodes if each[0] == task}
        self.nodes = [each for each in self.nodes if each[0] != task]
        return gone

    def charge(self, user: int, tokens: float) -> None:
        self.counters[user] = self.counters.get(user, 0.0) + tokens
        if user == self.taken:
            self.level, self.taken = self.counters[user], None
        if user in self.waiting():
            self.stand(user)


FIGURES = st.tuples(st.floats(0, 5), st.none() | st.floats(0, 5), st.integers(-1, 1))
STEPS = st.one_of(
    st.tuples(st.just("push"), st.integers(1, TASKS), FIGURES, st.sampled_from([1.0, 2.0, 3.0])),
    st.tuples(st.just("update"), st.integers(1, TASKS), FIGURES, st.just(0.0)),
    st.tuples(st.just("drop"), st.integers(1, TASKS), FIGURES, st.just(0.0)),
    st.tuples(st.just("reorder"), st.integers(0, len(ORDERS) - 1), FIGURES, st.just(0.0)),
    st.tuples(st.just("pop"), st.just(0), FIGURES, st.integers(0, 4).map(float)),
    st.tuples(st.just("charge"), st.integers(1, USERS), FIGURES, st.integers(-2, 4).map(float)),
)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("apart", [True, False], ids=["shares", "one"])
@given(steps=st.lists(STEPS, max_size=60))
def test_a_line_does_what_its_rules_say(order: Order, apart: bool, steps: list[tuple[Any, ...]]) -> None:
    shares = FairShares() if apart else None
    line, naive = Line(order, shares), Naive(order, apart)
    for count, (what, number, (work, deadline, priority), figure) in enumerate(steps):
        its = offer(number, number % USERS + 1, work, deadline=deadline, priority=priority)
        if what == "push":
            line.push(its, f"n{count}", figure)
            naive.push(its, f"n{count}", figure)
        elif what == "update":
            line.update(its)
            naive.update(its)
        elif what == "drop":
            assert set(line.drop(number)) == naive.drop(number)
        elif what == "reorder":
            naive.order = ORDERS[number]
            line.reorder(naive.order)
        elif what == "charge" and shares is not None:
            shares.charge(number, figure)
            naive.charge(number, figure)
        elif what == "pop":
            taken = line.pop()
            assert taken == naive.pop()
            if taken is not None and shares is not None:
                shares.charge(naive.user(taken[0]), figure)
                naive.charge(naive.user(taken[0]), figure)
        assert len(line) == len(naive.nodes)
        assert set(line.tasks()) == {task for task, _, _ in naive.nodes}
    assert drained(line) == list(iter(naive.pop, None))
    assert len(line) == 0


def test_within_a_task_the_longest_goes_first_then_the_first() -> None:
    line = Line("fcfs", None)
    for node, length in (("b", 1.0), ("a", 1.0), ("long", 5.0)):
        line.push(offer(1), node, length)
    assert drained(line) == [(1, "long"), (1, "b"), (1, "a")]


def test_a_task_whose_work_shrinks_overtakes() -> None:
    line = Line("srtf", None)
    for task, work in ((1, 10.0), (2, 20.0)):
        line.push(offer(task, work=work), "n", 1.0)
    line.update(offer(2, work=3.0))
    assert drained(line) == [(2, "n"), (1, "n")]


def test_another_order_holds_from_its_moment_on() -> None:
    line = Line("deadline", None)
    for task, deadline in ((1, 30.0), (2, 10.0), (3, 20.0)):
        line.push(offer(task, deadline=deadline), "n", 1.0)
    assert line.pop() == (2, "n")
    line.reorder("relaxed")
    line.push(offer(4, deadline=25.0), "n", 1.0)
    assert drained(line) == [(1, "n"), (4, "n"), (3, "n")]


def test_what_is_given_back_is_next_again() -> None:
    line = Line("fcfs", FairShares())
    line.push(offer(1), "a", 2.0)
    line.push(offer(1), "b", 1.0)
    assert line.pop() == (1, "a")
    line.push(offer(1), "a", 2.0)
    assert drained(line) == [(1, "a"), (1, "b")]


def test_one_user_with_much_does_not_delay_anothers_first() -> None:
    shares = FairShares()
    line = Line("fcfs", shares)
    for number in range(100_000):
        line.push(offer(1 + number % 1000, user=1), f"n{number}", 1.0)
    for _ in range(500):
        assert line.pop() is not None
        shares.charge(1, 10.0)
    line.push(offer(5000, user=2), "first", 1.0)
    ahead = 0
    while line.pop() != (5000, "first"):
        shares.charge(1, 10.0)
        ahead += 1
    assert ahead <= 1


def test_many_changes_leave_nothing_behind() -> None:
    line = Line("srtf", None)
    for task in (1, 2, 3):
        line.push(offer(task), "n", 1.0)
    for number in range(10_000):
        line.update(offer(1 + number % 3, work=float(number)))
    assert sum(len(each.heap) for each in line._backlogs.values()) < 100
    assert drained(line) == [(2, "n"), (3, "n"), (1, "n")]


def test_a_long_line_costs_no_more_than_a_short_one() -> None:
    """CPU time for each operation. The bound is wide: a search through it all would be 1,000 times dearer."""

    def seconds(length: int) -> float:
        shares = FairShares()
        line = Line("srtf", shares)
        for number in range(length):
            line.push(offer(number, user=1), "n", 1.0)
        began = time.thread_time()
        for task in range(length, length + 90):
            line.push(offer(task, user=2), "x", 1.0)
            line.update(offer(task, user=2, work=2.0))
            while line.pop() != (task, "x"):
                shares.charge(1, 1.0)
            shares.charge(2, 1.0)
        return time.thread_time() - began

    assert seconds(100_000) < 20 * seconds(100) + 0.05
