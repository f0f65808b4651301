from __future__ import annotations

import math

import pytest

from policy.slo.pipeline import PolicyName
from policy.slo.rules import CROWD, POLICIES
from tests.policy.slo.seen import sight

NAMES = list(POLICIES)
# Leaving now it would wait 2 s, a planned batch takes 2.5 s and one alone 1 s; then 4 s follow, 3 s at best.
BUSY = sight(wait=2.0, later=4.0, least=3.0, outstanding=8)
OVERLOADED = BUSY._replace(mode="overload")


def test_without_a_policy_nothing_is_dropped_and_nothing_told() -> None:
    none = POLICIES["none"]
    assert none.order(OVERLOADED, 0.0, "fcfs") == "fcfs"
    assert none.late_before(BUSY) == none.hopeless_before(BUSY) == -math.inf
    assert none.admits(BUSY, 0.0)
    assert none.serve_by(BUSY, 105.0) is None


@pytest.mark.parametrize("name", ["lazy", "nexus"])
def test_the_reactive_ones_look_at_this_stage_alone(name: PolicyName) -> None:
    policy = POLICIES[name]
    assert policy.order(OVERLOADED, 0.0, "fcfs") == "deadline"
    assert policy.late_before(BUSY) == policy.hopeless_before(BUSY) == 101.0
    assert policy.serve_by(BUSY, 105.0) == 105.0


def test_pard_adds_up_the_whole_way() -> None:
    pard = POLICIES["pard"]
    assert pard.late_before(BUSY) == 100.0 + 2.0 + 2.5 + 4.0
    assert pard.hopeless_before(BUSY) == 100.0 + 1.0 + 3.0
    assert pard.serve_by(BUSY, 110.0) == 106.0


def test_pard_serves_the_highest_remaining_budget_first_in_overload_and_the_lowest_else() -> None:
    pard = POLICIES["pard"]
    assert pard.order(OVERLOADED, 200.0, "deadline") == "relaxed"
    assert pard.order(BUSY, 0.0, "relaxed") == "deadline"


def test_ours_turns_the_order_when_the_first_to_be_due_is_late_and_back_when_none_is_and_few_wait() -> None:
    ours, late = POLICIES["agentos"], POLICIES["agentos"].late_before(BUSY)
    crowd = BUSY._replace(waiting=100)
    assert ours.order(BUSY, late, "fcfs") == "deadline"
    assert ours.order(BUSY, late - 0.001, "deadline") == "relaxed"
    assert ours.order(crowd, late, "relaxed") == "relaxed"
    assert ours.order(crowd, late, "deadline") == "deadline"
    assert ours.order(BUSY, late, "relaxed") == "deadline"


def test_ours_keeps_what_may_be_late_only_while_few_wait() -> None:
    ours = POLICIES["agentos"]
    assert ours.hopeless_before(BUSY) == POLICIES["pard"].hopeless_before(BUSY)
    few = CROWD * BUSY.workers * BUSY.size
    assert ours.hopeless_before(BUSY._replace(waiting=few)) == ours.hopeless_before(BUSY)
    assert ours.hopeless_before(BUSY._replace(waiting=few + 1)) == ours.late_before(BUSY)


@pytest.mark.parametrize("name", NAMES)
def test_what_has_no_deadline_is_admitted_and_in_no_hurry(name: PolicyName) -> None:
    assert POLICIES[name].admits(BUSY, None)
    assert POLICIES[name].serve_by(BUSY, None) is None


@pytest.mark.parametrize("name", [name for name in NAMES if name != "none"])
def test_nobody_admits_what_has_no_hope(name: PolicyName) -> None:
    policy = POLICIES[name]
    assert not policy.admits(BUSY, policy.hopeless_before(BUSY) - 0.001)


@pytest.mark.parametrize("name", [name for name in NAMES if name != "none"])
def test_equality_keeps(name: PolicyName) -> None:
    policy = POLICIES[name]
    assert policy.admits(BUSY, policy.hopeless_before(BUSY))


@pytest.mark.parametrize("name", NAMES)
def test_what_is_hopeless_is_late(name: PolicyName) -> None:
    for busy in (sight(), BUSY, sight(later=2.0, least=2.0)):
        assert POLICIES[name].hopeless_before(busy) <= POLICIES[name].late_before(busy)
