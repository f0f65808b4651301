"""The queue against a list that is sorted each time; and what it costs when it is long."""

from __future__ import annotations

import random
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from policy.slo.queue import By, Queue
from tests.policy.slo.seen import Counted

WAYS: list[By] = ["arrival", "due"]
STEPS = st.one_of(
    st.tuples(st.just("add"), st.integers(0, 5), st.integers(0, 3).map(float)),
    st.tuples(st.just("remove"), st.integers(0, 5), st.just(0.0)),
    st.tuples(st.just("pop"), st.just(0), st.just(0.0)),
    st.tuples(st.just("sort"), st.integers(0, 1), st.just(0.0)),
)


@given(st.lists(STEPS, max_size=60))
def test_the_head_is_who_is_due_first_or_came_first(steps: list[tuple[Any, ...]]) -> None:
    queue, by = Queue[int](), "due"
    here: dict[int, tuple[float, int]] = {}

    def first() -> int:
        return min(here, key=lambda key: here[key] if by == "due" else (here[key][1],))

    for number, (what, key, due) in enumerate(steps):
        if what == "add":
            queue.add(key, due)
            here[key] = due, number
        elif what == "remove":
            assert queue.remove(key) == (here.pop(key, None) is not None)
        elif what == "sort":
            by = WAYS[key]
            queue.sort(by)
        elif here:
            head = first()
            assert queue.head() == here[head][0]
            assert queue.pop() == head
            del here[head]
        assert len(queue) == len(here)


def compared(length: int) -> float:
    """For each of many that come and go while `length` wait."""
    chance, queue = random.Random(length), Queue[int]()
    for number in range(length):
        queue.add(number, Counted(chance.random()))
    Counted.compared = 0
    for number in range(length, length + 500):
        queue.add(number, Counted(chance.random()))
        queue.remove(number - length // 2)
        queue.pop()
    return Counted.compared / 500


def test_a_long_queue_costs_its_logarithm() -> None:
    assert compared(100_000) < 4 * compared(1_000)
