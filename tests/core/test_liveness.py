"""Who is stuck, who stood still: decided on a clock of the test's own."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.liveness import SETTLING, Fence, Liveness

LIMIT = 5.0


class Clock:
    """Goes when it is told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def fence(clock: Clock) -> Fence:
    return Fence(LIMIT, clock.now)


def test_who_beats_in_time_is_not_stuck(clock: Clock, fence: Fence) -> None:
    liveness = Liveness(fence, clock)
    beat = liveness.expect("presence", silence=10)
    clock.now += 10
    assert liveness.stuck() == []
    beat.beat()
    clock.now += 10
    assert liveness.stuck() == []


def test_the_one_that_is_silent_is_named_with_its_own_limit(clock: Clock, fence: Fence) -> None:
    liveness = Liveness(fence, clock)
    liveness.expect("presence", silence=10)
    liveness.expect("sweep", silence=60)
    clock.now += 30
    assert liveness.stuck() == ["presence has shown no progress for 30 s (allowed: 10 s)"]


def test_who_beats_again_or_has_ended_is_well(clock: Clock, fence: Fence) -> None:
    liveness = Liveness(fence, clock)
    beat = liveness.expect("presence", silence=10)
    liveness.expect("sweep", silence=10)
    clock.now += 30
    assert len(liveness.stuck()) == 2
    beat.beat()
    liveness.forget("sweep")
    assert liveness.stuck() == []


def test_nobody_is_blamed_for_the_time_in_which_the_process_stood_still(clock: Clock, fence: Fence) -> None:
    liveness = Liveness(fence, clock)
    liveness.expect("presence", silence=10)
    clock.now += 120
    fence.tick(clock.now)
    assert liveness.stuck() == []
    clock.now += 11
    assert liveness.stuck() == ["presence has shown no progress for 11 s (allowed: 10 s)"]


def test_a_loop_that_turns_passes_the_fence(clock: Clock, fence: Fence) -> None:
    began = clock.now
    for _ in range(100):
        clock.now += LIMIT
        assert not fence.passed(began, clock.now)
        fence.tick(clock.now)


@pytest.mark.parametrize("loop_first", [True, False])
def test_a_call_that_slept_is_seen_whether_the_loop_has_ticked_since_or_not(
    clock: Clock, fence: Fence, loop_first: bool
) -> None:
    began = clock.now
    clock.now += 60
    if loop_first:
        fence.tick(clock.now)
    assert fence.passed(began, clock.now)


def test_what_was_handed_over_just_after_a_stop_may_be_from_before_it(clock: Clock, fence: Fence) -> None:
    clock.now += 60
    fence.tick(clock.now)
    began = clock.now + SETTLING / 2
    assert fence.passed(began, began)
    began = clock.now + SETTLING
    assert not fence.passed(began, began)


@given(st.lists(st.floats(0.01, 20), min_size=1, max_size=30), st.data())
def test_a_fence_lets_through_exactly_what_saw_no_long_gap(gaps: list[float], data: st.DataObject) -> None:
    fence, now, times = Fence(LIMIT, 0.0), 0.0, [0.0]
    for gap in gaps:
        now += gap
        fence.tick(now)
        times.append(now)
    began = data.draw(st.sampled_from(times))
    stops = [end for start, end in itertools.pairwise(times) if end - start > LIMIT]
    assert fence.passed(began, now) == any(end > began - SETTLING for end in stops)
