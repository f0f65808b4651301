from __future__ import annotations

import math
import random
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policy.slo.forming import GATHER, MARGIN_SECONDS, Formed, Former
from policy.slo.pipeline import PolicyName
from policy.slo.rules import POLICIES
from tests.policy.slo.seen import PLAIN, SEED, Counted

NAMES = list(POLICIES)


def former(policy: PolicyName, *due: float | None, size: int = 4) -> Former[int]:
    """Requests 0, 1, … of a worker of which one alone takes 1 s, two 1.5 s, four 2.5 s, eight 4.5 s."""
    made = Former[int](policy, PLAIN, size)
    for key, each in enumerate(due):
        made.add(key, each)
    return made


def planned(policy: PolicyName, *due: float | None, size: int = 4, now: float = 100.0) -> tuple[list[int], list[int]]:
    formed = former(policy, *due, size=size).plan(now)
    return formed.start, formed.drop


def test_without_a_policy_all_are_served_as_they_came() -> None:
    assert planned("none", 90.0, None, 120.0, 110.0, 115.0) == ([0, 1, 2, 3], [])
    assert planned("none", 90.0) == ([0], [])


@pytest.mark.parametrize("name", [name for name in NAMES if name != "none"])
def test_who_is_due_first_is_served_first(name: PolicyName) -> None:
    start, drop = planned(name, None, 130.0, 120.0, 140.0, 150.0, size=3)
    assert (start[:3], drop) == ([2, 1, 3], [])


@pytest.mark.parametrize("name", NAMES)
def test_nothing_waits_for_ever(name: PolicyName) -> None:
    some = former(name, None)
    soon = some.plan(100.0).again_at
    assert soon is None or some.plan(soon).start == [0]


@pytest.mark.parametrize("name", NAMES)
def test_an_empty_worker_does_nothing(name: PolicyName) -> None:
    assert former(name).plan(100.0) == Formed([], [], None)


def test_lazy_drops_what_one_alone_could_not_do_and_equality_keeps() -> None:
    assert planned("lazy", 101.0) == ([0], [])
    assert planned("lazy", math.nextafter(101.0, 0.0)) == ([], [0])


@pytest.mark.parametrize(("head", "batch"), [(101.0, 1), (101.5, 2), (102.4, 3), (102.5, 4), (109.0, 4)])
def test_lazy_takes_the_largest_batch_that_fits_the_heads_budget(head: float, batch: int) -> None:
    start, drop = planned("lazy", head, *[200.0] * 9)
    assert (len(start), drop) == (batch, [])


def test_nexus_drops_what_would_make_the_batch_smaller_than_planned() -> None:
    assert planned("nexus", 101.0, 102.0, *[103.0] * 4) == ([2, 3, 4, 5], [0, 1])


def test_nexus_plans_for_no_more_than_there_are() -> None:
    assert planned("nexus", 101.0) == ([0], [])
    assert planned("nexus", 101.0, 103.0) == ([1], [0])
    assert planned("nexus", 101.5, 103.0) == ([0, 1], [])


def test_nexus_keeps_at_equality() -> None:
    assert planned("nexus", 102.5, *[103.0] * 3) == ([0, 1, 2, 3], [])
    assert planned("nexus", math.nextafter(102.5, 0.0), *[103.0] * 4) == ([1, 2, 3, 4], [0])


def test_nexus_lets_more_ride_along_while_the_earliest_can_wait() -> None:
    assert planned("nexus", 103.5, *[200.0] * 9)[0] == [0, 1, 2, 3, 4, 5]
    assert len(planned("nexus", *[200.0] * 20)[0]) == PLAIN.largest


def test_pard_drops_what_a_batch_as_planned_would_not_do_in_time() -> None:
    assert planned("pard", 102.5) == ([0], [])
    assert planned("pard", math.nextafter(102.5, 0.0), 102.5) == ([1], [0])


def test_ours_starts_a_full_batch_at_once() -> None:
    assert planned("agentos", *[120.0] * 5) == ([0, 1, 2, 3], [])


def test_ours_lets_a_batch_that_is_not_full_wait_a_moment_for_others() -> None:
    some = former("agentos", 120.0)
    until = 100.0 + GATHER * 1.0
    assert some.plan(100.0) == Formed([], [], until)
    some.add(1, 130.0)
    assert some.plan(100.05) == Formed([], [], until)
    assert some.plan(until).start == [0, 1]
    some.add(2, 130.0)
    assert some.plan(110.0) == Formed([], [], 110.0 + GATHER * 1.0)


def test_ours_waits_for_nobody_who_would_cost_a_deadline() -> None:
    last = 100.05 + 1.5 + MARGIN_SECONDS
    assert planned("agentos", 101.5) == ([0], [])
    some = former("agentos", last)
    assert some.plan(100.0).again_at == pytest.approx(100.05)
    some.add(1, last)
    assert some.plan(100.01).start == [0, 1]


@pytest.mark.parametrize("name", ["nexus", "agentos"])
def test_the_sliding_window_drops_what_would_make_the_batch_smaller(name: PolicyName) -> None:
    assert planned(name, 101.0, 102.0, *[103.0] * 4) == ([2, 3, 4, 5], [0, 1])


@given(
    st.sampled_from(NAMES),
    st.lists(st.none() | st.floats(99, 110), max_size=40),
    st.integers(1, 12),
    st.lists(st.integers(0, 39), max_size=5),
)
def test_nothing_is_lost_and_nothing_comes_twice(
    name: PolicyName, due: list[float | None], size: int, removed: Sequence[int]
) -> None:
    some, here, now = former(name, *due, size=size), set(range(len(due))), 100.0
    for key in removed:
        assert some.remove(key) == (key in here)
        here.discard(key)
    while here:
        formed = some.plan(now)
        gone = formed.start + formed.drop
        assert len(gone) == len(set(gone))
        assert here.issuperset(gone)
        here.difference_update(gone)
        assert len(some) == len(here)
        assert len(formed.start) <= PLAIN.largest
        if formed.start:
            assert formed.again_at is None
            now += 0.5
        elif here:
            assert formed.again_at is not None
            assert formed.again_at > now
            now = formed.again_at


@given(st.lists(st.floats(100, 110), min_size=1, max_size=20), st.integers(1, 8))
def test_nobody_but_none_starts_what_would_be_late(due: list[float], size: int) -> None:
    for name in NAMES:
        some, now = former(name, *due, size=size), 100.0
        formed = some.plan(now)
        if formed.start:
            ends = now + PLAIN.seconds(len(formed.start))
            assert name == "none" or all(ends <= due[key] for key in formed.start)


def test_another_order_holds_for_what_waits() -> None:
    some = former("none", 130.0, 120.0, 110.0)
    some.order("pard", SEED, 2)
    assert some.plan(100.0).start == [2, 1]
    some.order("none", SEED, 1)
    assert some.plan(100.0).start == [0]


def test_no_batch_is_larger_than_what_was_measured() -> None:
    assert len(planned("none", *[None] * 20, size=50)[0]) == PLAIN.largest


def compared(name: PolicyName, length: int) -> float:
    """For each of many that come and go while `length` wait."""
    chance = random.Random(length)
    some = Former[int](name, SEED, 8)
    for key in range(length):
        some.add(key, Counted(500 + chance.random()))
    Counted.compared = done = 0
    for key in range(length, length + 500):
        some.add(key, Counted(500 + chance.random()))
        formed = some.plan(400.0)
        done += len(formed.start) + len(formed.drop)
    return Counted.compared / done


@pytest.mark.parametrize("name", NAMES)
def test_a_long_queue_costs_its_logarithm(name: PolicyName) -> None:
    assert compared(name, 30_000) <= 4 * compared(name, 3_000)
