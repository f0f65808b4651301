"""Which events a waiter hands on, without sockets."""

from __future__ import annotations

import msgspec
import pytest

from bus.messages import ReplyFrame
from coordinator.waiters import Ending, Interrupted, Waiter, Waiters
from store import Answer

FOUND = Answer('{"outcome":"completed"}', "{}")


def frame(seq: int, *, attempt: str = "a", end: bool = False) -> ReplyFrame:
    return ReplyFrame(request_id="r", event_id=attempt, seq=seq, end=end, data=msgspec.Raw(b"%d" % seq))


async def events(waiter: Waiter, *given: ReplyFrame | Answer | Ending) -> list[object]:
    """What the waiter hands on of what it is given; a frame handed on counts as passed on."""
    for event in given:
        waiter.put(event)
    waiter.put(Ending.STOPPING)
    handed: list[object] = []
    while (event := await waiter.next()) is not Ending.STOPPING:
        handed.append(event.seq if isinstance(event, ReplyFrame) else event)
        waiter.passed_on = True
    return handed


async def test_frames_come_in_order() -> None:
    assert await events(Waiter("r", "m", 0), frame(0), frame(1), frame(2, end=True)) == [0, 1, 2]


async def test_a_repeated_frame_is_dropped() -> None:
    assert await events(Waiter("r", "m", 0), frame(0), frame(0), frame(1)) == [0, 1]


async def test_a_gap_after_something_was_passed_on_interrupts() -> None:
    with pytest.raises(Interrupted):
        await events(Waiter("r", "m", 0), frame(0), frame(2))


async def test_an_answer_whose_beginning_was_lost_comes_from_the_store() -> None:
    assert await events(Waiter("r", "m", 0), frame(1), frame(2, end=True), FOUND) == [FOUND]


async def test_a_second_attempt_replaces_one_that_has_told_nothing() -> None:
    waiter = Waiter("r", "m", 0)
    waiter.put(frame(1, attempt="a"))
    assert await events(waiter, frame(0, attempt="b"), frame(2, attempt="a"), frame(1, attempt="b")) == [0, 1]


async def test_a_second_attempt_after_something_was_passed_on_interrupts() -> None:
    with pytest.raises(Interrupted):
        await events(Waiter("r", "m", 0), frame(0, attempt="a"), frame(0, attempt="b"))


async def test_a_frame_finds_its_waiter_and_one_for_nobody_is_dropped() -> None:
    waiters = Waiters()
    with waiters.register("r", "m", 0) as waiter:
        waiters.take_frame(frame(0))
        waiters.take_frame(ReplyFrame(request_id="other", event_id="a", seq=0))
        assert await events(waiter) == [0]
    waiters.take_frame(frame(1))
    assert len(waiters) == 0


async def test_a_fold_here_is_needed_only_where_the_answer_was_too_large_for_frames() -> None:
    waiters = Waiters()
    with waiters.register("r", "m", 0) as waiter:
        waiters.bind(waiter, 7)
        waiters.take_folded(7, FOUND)
        assert await events(waiter) == []
        waiter.expects_store = True
        waiters.take_folded(7, FOUND)
        assert await events(waiter) == [FOUND]


async def test_an_answer_found_twice_in_the_store_is_handed_over() -> None:
    waiters = Waiters()
    with waiters.register("r", "m", 0) as waiter:
        waiters.bind(waiter, 7)
        waiters.take_found(7, FOUND)
        assert await events(waiter) == []
        waiters.take_found(7, FOUND)
        assert await events(waiter) == [FOUND]


async def test_only_those_that_have_waited_are_looked_for() -> None:
    waiters = Waiters()
    with waiters.register("old", "m", 1.0) as old, waiters.register("new", "m", 2.0) as new:
        waiters.bind(old, 1)
        waiters.bind(new, 2)
        assert waiters.tasks_waiting_since(1.5) == [1]
    assert waiters.tasks_waiting_since(9.0) == []


async def test_everybody_is_told_of_the_end() -> None:
    waiters = Waiters()
    with waiters.register("a", "m", 0) as first, waiters.register("b", "n", 0) as second:
        waiters.end_all(Ending.STOPPING)
        assert {await first.next(), await second.next()} == {Ending.STOPPING}


async def test_an_ending_may_concern_one_model_alone() -> None:
    waiters = Waiters()
    with waiters.register("a", "m", 0) as concerned, waiters.register("b", "n", 0) as other:
        waiters.end_all(Ending.UNAVAILABLE, "m")
        waiters.end_all(Ending.STOPPING)
        assert [await concerned.next(), await other.next()] == [Ending.UNAVAILABLE, Ending.STOPPING]
