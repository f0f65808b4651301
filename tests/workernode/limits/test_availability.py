from __future__ import annotations

import pytest

from workernode.limits.availability import (
    CONFIRMED_AFTER,
    FIRST_PROBE,
    LONGEST_PROBE,
    OUTAGE_AFTER,
    TELL_AFTER,
    Availability,
    Fault,
    State,
)

KEY = Fault("AuthenticationError", "The upstream refuses API_KEY.")
QUOTA = Fault("APIQuotaExceededError", "The quota of API_KEY is used up.")
MODEL = Fault("ConfigurationError", "The upstream does not know the model.", sure=False)


def longest(low: float, high: float) -> float:
    return high


@pytest.fixture
def node() -> Availability:
    return Availability(longest)


def break_down(node: Availability, now: float) -> None:
    for _ in range(OUTAGE_AFTER):
        assert node.failed(now, sent_at=now) is None


def to_trial(node: Availability, now: float) -> float:
    """The time at which one message is tried."""
    wait = node.probe_in(now)
    assert wait is not None
    node.checking()
    assert node.allowed() == 0
    node.checked(now + wait, answered=True)
    assert node.state is State.TRIAL
    return now + wait


def test_a_well_node_takes_what_other_limits_allow(node: Availability) -> None:
    assert (node.allowed(), node.probe_in(0.0)) == (None, None)


def test_single_failures_make_no_noise(node: Availability) -> None:
    for now in range(100):
        assert node.failed(float(now), sent_at=now) is None
        assert node.answered(sent_at=now) is None
    assert node.state is State.WELL


def test_failures_in_a_row_are_an_outage_that_one_answered_message_ends(node: Availability) -> None:
    break_down(node, 100.0)
    assert (node.allowed(), node.probe_in(100.0)) == (0, FIRST_PROBE)
    now = to_trial(node, 100.0)
    assert node.allowed() == 1
    assert node.answered(sent_at=now) is None  # nobody was told of it
    assert node.allowed() is None


def test_the_check_alone_does_not_make_it_well(node: Availability) -> None:
    break_down(node, 100.0)
    now = to_trial(node, 100.0)
    node.failed(now + 1, sent_at=now)
    assert (node.state, node.allowed()) == (State.WAITING, 0)


def test_calls_from_before_the_trial_prove_nothing(node: Availability) -> None:
    break_down(node, 100.0)
    now = to_trial(node, 100.0)
    assert node.answered(sent_at=now - 1) is None
    assert node.failed(now, sent_at=now - 1) is None
    assert node.faulted(now, KEY, sent_at=now - 1) is None
    assert node.state is State.TRIAL


def test_probes_become_rarer_and_stay_gentle(node: Availability) -> None:
    break_down(node, 100.0)
    now, waits = 100.0, []
    for _ in range(9):
        wait = node.probe_in(now)
        assert wait is not None
        waits.append(wait)
        now += wait
        node.checking()
        node.checked(now, answered=False)
    assert waits[:4] == [1, 2, 4, 8]
    assert waits[-1] == LONGEST_PROBE


def test_a_long_outage_is_told_once_and_its_end_too(node: Availability) -> None:
    break_down(node, 100.0)
    now, told = 100.0, []
    while now < 100.0 + 10 * TELL_AFTER:
        now += node.probe_in(now) or 0.0
        node.checking()
        told.append((now, node.checked(now, answered=False)))
    events = [(at, tell) for at, tell in told if tell]
    [(at, tell)] = events
    assert 100.0 + TELL_AFTER <= at <= 100.0 + TELL_AFTER + LONGEST_PROBE
    assert (tell.event, tell.reason, tell.since) == ("unavailable", "GeneralError", 100.0)
    now = to_trial(node, now)
    recovered = node.answered(sent_at=now)
    assert recovered is not None
    assert (recovered.event, recovered.reason) == ("recovered", "GeneralError")


def test_a_fault_of_the_node_is_told_at_once_and_once(node: Availability) -> None:
    tell = node.faulted(100.0, KEY, sent_at=99.0)
    assert tell is not None
    assert (tell.event, tell.reason, tell.message, tell.since) == ("unavailable", KEY.reason, KEY.message, 100.0)
    assert node.faulted(100.1, KEY, sent_at=99.0) is None
    now = to_trial(node, 100.1)
    assert node.faulted(now + 1, KEY, sent_at=now) is None
    assert node.state is State.WAITING


def test_a_fault_that_a_request_may_have_caused_needs_more_than_one(node: Availability) -> None:
    for _ in range(CONFIRMED_AFTER - 1):
        assert node.faulted(100.0, MODEL, sent_at=99.0) is None
    assert node.answered(sent_at=99.0) is None
    for _ in range(CONFIRMED_AFTER - 1):
        assert node.faulted(100.0, MODEL, sent_at=99.0) is None
    assert node.state is State.WELL
    tell = node.faulted(100.0, MODEL, sent_at=99.0)
    assert tell is not None
    assert tell.reason == "ConfigurationError"
    assert node.allowed() == 0


def test_the_check_may_find_a_fault(node: Availability) -> None:
    break_down(node, 100.0)
    node.checking()
    tell = node.checked(101.0, KEY, answered=False)
    assert tell is not None
    assert tell.reason == "AuthenticationError"


def test_another_reason_is_told_too_but_each_only_once(node: Availability) -> None:
    node.faulted(100.0, KEY, sent_at=99.0)
    now, told = 100.0, []
    for fault in (QUOTA, KEY, QUOTA):
        now = to_trial(node, now)
        told.append(node.faulted(now, fault, sent_at=now))
    assert [tell and (tell.reason, tell.since) for tell in told] == [("APIQuotaExceededError", 100.0), None, None]


def test_one_odd_request_on_trial_is_no_fault_of_the_nodes(node: Availability) -> None:
    break_down(node, 100.0)
    now = to_trial(node, 100.0)
    assert node.faulted(now, MODEL, sent_at=now) is None
    assert node.allowed() == 0
    now = to_trial(node, now)
    assert node.answered(sent_at=now) is None
    assert node.allowed() is None


def test_after_a_recovery_all_begins_anew(node: Availability) -> None:
    node.faulted(100.0, KEY, sent_at=99.0)
    now = to_trial(node, 100.0)
    assert node.answered(sent_at=now) is not None
    for at in range(OUTAGE_AFTER - 1):
        node.failed(now + at, sent_at=now)
    assert node.state is State.WELL
    node.failed(now + 9, sent_at=now)
    assert node.probe_in(now + 9) == FIRST_PROBE
