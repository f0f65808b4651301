from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policy.fair import FairShares
from policy.line import Line
from policy.order import Offer
from policy.slo.gate import Gate, Node
from policy.slo.pipeline import PolicyName
from policy.slo.rules import POLICIES
from tests.policy.slo.seen import Counted, sight

NAMES = list(POLICIES)


def offer(task: int, deadline: float | None, user: int = 1, priority: int = 0) -> Offer:
    return Offer(task=task, user=user, arrived_at=90.0 + task, work=1.0, deadline=deadline, priority=priority)


def nobody(task: int) -> None:
    """Without shares nobody is charged."""


def gate(policy: PolicyName, *deadlines: float | None) -> Gate:
    """Tasks 1, 2, … with one node each."""
    made = Gate(policy, Line("fcfs", None))
    for task, deadline in enumerate(deadlines, 1):
        made.push(offer(task, deadline), "n", 1.0)
    return made


def tasks(nodes: list[Node]) -> list[int]:
    return [task for task, _ in nodes]


def test_without_a_policy_all_go_as_they_came() -> None:
    some = gate("none", 50.0, 10.0, None)
    assert tasks(some.take(2, sight(), nobody).send) == [1, 2]
    assert some.prune(sight()) == []
    assert tasks(some.take(2, sight(), nobody).send) == [3]


@pytest.mark.parametrize("name", ["lazy", "nexus", "pard"])
def test_equality_keeps_and_a_moment_less_does_not(name: PolicyName) -> None:
    bound = POLICIES[name].late_before(sight())
    taken = gate(name, bound, math.nextafter(bound, 0.0)).take(5, sight(), nobody)
    assert (tasks(taken.send), tasks(taken.dropped)) == ([1], [2])


def test_what_is_dropped_at_its_turn_takes_no_room() -> None:
    taken = gate("lazy", 100.5, 103.0, 100.2, 104.0).take(1, sight(), nobody)
    assert (tasks(taken.send), tasks(taken.dropped)) == ([2], [3, 1])


def test_pard_goes_by_the_mode() -> None:
    some = gate("pard", 110.0, 130.0, 120.0, 140.0)
    assert tasks(some.take(1, sight(), nobody).send) == [1]
    assert tasks(some.take(2, sight(mode="overload"), nobody).send) == [4, 2]
    assert tasks(some.take(1, sight(), nobody).send) == [3]


def test_what_waits_without_hope_is_pruned_wherever_it_stands() -> None:
    some = gate("pard", 140.0, 103.9, 104.0, 103.0)
    busy = sight(mode="overload", least=3.0)
    assert some.take(1, busy, nobody).send == [(1, "n")]
    assert some.prune(busy) == [(4, "n"), (2, "n")]
    assert len(some) == 1
    assert some.prune(busy) == []


def test_all_nodes_of_a_task_go_with_it() -> None:
    some = gate("lazy", 110.0)
    some.push(offer(1, 110.0), "m", 2.0)
    assert sorted(some.drop(1)) == ["m", "n"]
    assert some.drop(1) == []
    assert some.prune(sight(now=200.0)) == []


def test_whoever_comes_back_is_judged_anew() -> None:
    some = gate("lazy", 110.0)
    assert tasks(some.take(1, sight(), nobody).send) == [1]
    some.push(offer(1, 110.0), "n", 1.0)
    assert some.prune(sight(now=109.5)) == [(1, "n")]


def test_ours_holds_what_may_be_late_for_a_worker_that_would_else_be_idle() -> None:
    some = gate("agentos", 104.0, 103.0, 110.0)
    busy = sight(wait=3.0, outstanding=3)
    assert some.take(1, busy, nobody) == ([(3, "n")], [])
    full = busy._replace(outstanding=4)
    assert some.take(5, full, nobody) == ([], [])
    assert len(some) == 2
    assert some.take(5, busy, nobody) == ([(2, "n")], [])
    assert some.take(5, busy._replace(now=103.5), nobody) == ([], [(1, "n")])
    assert len(some) == 0


def test_ours_sends_the_latest_first_once_the_earliest_is_late() -> None:
    some = gate("agentos", 120.0, 130.0, 125.0, 140.0)
    assert tasks(some.take(1, sight(), nobody).send) == [1]
    assert tasks(some.take(1, sight(now=123.0), nobody).send) == [4]
    assert tasks(some.take(1, sight(now=100.0), nobody).send) == [3]


def test_ours_tells_the_late_at_once_where_many_wait() -> None:
    crowd = gate("agentos", 103.0, 104.0, *[200.0] * 20)
    busy = sight(wait=3.0)
    assert crowd.prune(busy) == [(1, "n"), (2, "n")]
    few = gate("agentos", 103.0, 104.0)
    assert few.prune(busy) == []
    assert few.prune(busy._replace(now=102.5)) == [(1, "n")]


def test_users_have_their_shares_whatever_is_due() -> None:
    shares = FairShares()
    some = Gate("pard", Line("fcfs", shares))
    for task in range(1, 7):
        some.push(offer(task, 200.0 + task, user=1 + (task > 4)), "n", 1.0)
    taken = some.take(4, sight(), lambda task: shares.charge(1 + (task > 4), 1.0))
    assert tasks(taken.send) == [1, 5, 2, 6]


def test_priority_goes_before_the_deadline() -> None:
    some = gate("pard", 110.0)
    some.push(offer(2, 150.0, priority=1), "n", 1.0)
    assert tasks(some.take(2, sight(), nobody).send) == [2, 1]


STEPS = st.one_of(
    st.tuples(st.just("push"), st.integers(1, 9), st.integers(1, 3)),
    st.tuples(st.just("take"), st.integers(0, 4), st.integers(0, 6)),
    st.tuples(st.just("prune"), st.just(0), st.integers(0, 6)),
    st.tuples(st.just("drop"), st.integers(1, 9), st.just(0)),
)


@pytest.mark.parametrize("name", NAMES)
@given(
    steps=st.lists(STEPS, max_size=80), deadlines=st.lists(st.none() | st.floats(100, 130), min_size=9, max_size=9)
)
def test_nothing_is_lost_and_nothing_comes_twice(
    name: PolicyName, steps: list[tuple[str, int, int]], deadlines: list[float | None]
) -> None:
    shares = FairShares()
    some, here = Gate(name, Line("fcfs", shares)), set[Node]()
    now = 100.0
    for number, (what, first, second) in enumerate(steps):
        now += 0.5
        busy = sight(now=now, outstanding=second, wait=float(second), mode="overload" if second % 2 else "normal")
        gone: list[Node] = []
        if what == "push":
            node = first, f"n{number}"
            some.push(offer(first, deadlines[first - 1], user=first % 3 + 1), node[1], 1.0)
            here.add(node)
        elif what == "take":
            taken = some.take(first, busy, lambda task: shares.charge(task % 3 + 1, 1.0))
            assert len(taken.send) <= first
            gone = taken.send + taken.dropped
        elif what == "prune":
            gone = some.prune(busy)
        else:
            gone = [(first, name) for name in some.drop(first)]
        assert len(gone) == len(set(gone))
        assert here.issuperset(gone)
        here.difference_update(gone)
        assert len(some) == len(here)
    last = some.take(1000, sight(now=now), nobody)
    assert sorted(last.send + last.dropped) == sorted(here)


def compared(name: PolicyName, length: int) -> float:
    """For each that goes of many that come and go while `length` wait."""
    chance = random.Random(length)
    some = Gate(name, Line("fcfs", None))

    def push(task: int) -> None:
        due = Counted(300 + chance.random())
        some.push(Offer(task=task, user=1, arrived_at=Counted(task), work=1.0, deadline=due), "n", 1.0)

    for task in range(length):
        push(task)
    some.take(1, sight(), nobody)
    Counted.compared = done = 0
    for number in range(500):
        push(length + number)
        taken = some.take(1, sight(), nobody)
        gone = some.prune(sight(now=299.0 + number / 1e6))
        done += len(taken.send) + len(taken.dropped) + len(gone)
    return Counted.compared / done


@pytest.mark.parametrize("name", NAMES)
def test_a_long_line_costs_its_logarithm(name: PolicyName) -> None:
    assert compared(name, 30_000) < 4 * compared(name, 1_000)
