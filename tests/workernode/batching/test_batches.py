"""Who is served with whom, and what becomes of those who go."""

from __future__ import annotations

import asyncio
import time

import pytest

from bus.messages import Usage
from tests.workernode.batching.served import PATIENCE, Asked, Served, answer_to, make_call, make_order
from workernode.batching.batches import Batches
from workernode.classify import Loss, Upstream, lost
from workernode.errors import CallFailed, Dropped, LeaseLost, NotNow


def make(backend: Served, size: int = 4, **seconds: float) -> Asked:
    return Asked(Batches(backend, make_order(size, **seconds)))


async def answers(*tasks: asyncio.Task[object]) -> None:
    async with asyncio.timeout(PATIENCE):
        await asyncio.gather(*tasks)


async def test_one_batch_after_another_each_as_large_as_may_be() -> None:
    backend = Served(joint=True)
    ask = make(backend)
    tasks = [ask(f"r{number}") for number in range(6)]
    await backend.begun(1)
    assert backend.work == [["r0", "r1", "r2", "r3"]]
    assert ask.begun == ["r0", "r1", "r2", "r3"]
    assert ask.batches.queued == 2
    backend.finish()
    await backend.begun(2)
    assert backend.work[1] == ["r4", "r5"]
    backend.finish(1)
    async with asyncio.timeout(PATIENCE):
        assert [await task for task in tasks] == [answer_to(f"r{number}") for number in range(6)]
    assert [ask.calls[f"r{number}"].progress.batch_size for number in (0, 5)] == [4, 2]


async def test_those_that_are_not_alike_are_served_at_the_same_time_each_kind_for_itself() -> None:
    backend = Served(joint=True)
    ask = make(backend)
    tasks = [ask("a", kind="x"), ask("b", kind="y"), ask("c", kind="x"), ask("d", other=True)]
    await backend.begun(3)
    assert sorted(backend.work) == [["a", "c"], ["b"], ["d"]]
    late = ask("late", kind="x")
    for number in range(3):
        backend.finish(number)
    await backend.begun(4)
    backend.finish(3)
    await answers(*tasks, late)


async def test_slots_are_filled_anew_one_by_one() -> None:
    backend = Served(joint=False)
    ask = make(backend, size=2)
    first, second, third = ask("a"), ask("b"), ask("c")
    await backend.begun(2)
    assert backend.work == [["a"], ["b"]]
    assert ask.batches.room() == 0
    backend.finish(1)
    await backend.begun(3)
    assert backend.work[2] == ["c"]
    assert not first.done()
    backend.finish(0)
    backend.finish(2)
    await answers(first, second, third)
    assert ask.batches.room() == 2


async def test_one_failure_is_one_requests() -> None:
    backend = Served(joint=True)
    ask = make(backend)
    good, bad = ask("good"), ask("bad")
    await backend.begun(1)
    failure = CallFailed(lost(Loss.CALL_TIME))
    backend.finish(0, [answer_to("good"), failure])
    assert (await good) == answer_to("good")
    with pytest.raises(CallFailed):
        await bad


async def test_a_joint_failure_is_everybodys_and_counts_against_the_upstream_once() -> None:
    backend = Served(joint=True)
    ask = make(backend)
    tasks = [ask(f"r{number}") for number in range(3)]
    await backend.begun(1)
    backend.finish(0, CallFailed(lost(Loss.CONNECTION), reached_provider=True))
    failures = await asyncio.gather(*tasks, return_exceptions=True)
    verdicts = [failure.verdict for failure in failures if isinstance(failure, CallFailed)]
    assert [verdict.status for verdict in verdicts] == [502, 502, 502]
    assert [verdict.upstream for verdict in verdicts] == [Upstream.FAILED, Upstream.NOTHING, Upstream.NOTHING]


async def test_who_goes_before_the_batch_begins_is_not_in_it() -> None:
    backend = Served(joint=True)
    ask = make(backend, size=2)
    running, gone, next_one = ask("running"), ask("with it"), ask("next")
    await backend.begun(1)
    waiting = ask("waiting")
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert ask.batches.queued == 1
    backend.finish()
    await backend.begun(2)
    assert backend.work[1] == ["next"]
    backend.finish(1)
    await answers(running, gone, next_one)


async def test_a_cancelled_one_of_a_batch_leaves_the_others_and_is_billed() -> None:
    backend = Served(joint=True)
    cancelled: set[str] = set()
    ask = Asked(Batches(backend, make_order(2), cancelled=cancelled.__contains__))
    gone, other = ask("gone"), ask("other")
    await backend.begun(1)
    cancelled.add("gone")
    gone.cancel()
    await asyncio.sleep(0)
    assert not gone.done()
    backend.finish()
    with pytest.raises(asyncio.CancelledError):
        await gone
    assert (await other) == answer_to("other")
    assert ask.calls["gone"].progress.usage() == Usage(1, 2, 3)
    assert backend.cut_off == []


async def test_when_all_go_the_work_is_stopped() -> None:
    backend = Served(joint=True)
    ask = make(backend, size=2)
    tasks = [ask("a"), ask("b")]
    await backend.begun(1)
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks, timeout=PATIENCE)
    assert backend.cut_off == [["a", "b"]]
    again = ask("c")
    await backend.begun(2)
    backend.finish(1)
    await answers(again)


async def test_one_whose_lease_is_lost_does_not_begin() -> None:
    backend = Served(joint=True)
    ask = make(backend)

    def lose() -> None:
        raise LeaseLost("stood still")

    good = ask("good")
    lost_one = asyncio.create_task(ask.batches.call(make_call("lost"), None, None, lose))
    await backend.begun(1)
    assert backend.work == [["good"]]
    with pytest.raises(LeaseLost):
        await lost_one
    backend.finish()
    await answers(good)


async def test_a_batch_whose_members_have_all_lost_their_leases_makes_way() -> None:
    backend = Served(joint=True)
    ask = make(backend, size=1)

    def lose() -> None:
        raise LeaseLost("stood still")

    ask.batches.order(make_order(1))
    lost_one = asyncio.create_task(ask.batches.call(make_call("lost"), None, None, lose))
    good = ask("good")
    await backend.begun(1)
    backend.finish()
    await answers(good)
    with pytest.raises(LeaseLost):
        await lost_one


async def test_what_cannot_be_served_in_time_is_dropped_at_once() -> None:
    backend = Served(joint=True)
    ask = Asked(Batches(backend, make_order(4, "lazy", _1=5.0, _4=10.0)))
    hopeless = ask("hopeless", serve_by=time.time() + 1)
    with pytest.raises(Dropped):
        async with asyncio.timeout(PATIENCE):
            await hopeless
    assert backend.work == []
    assert ask.batches.queued == 0


async def test_who_leaves_gives_back_what_waits_and_takes_nothing_more() -> None:
    backend = Served(joint=True)
    ask = make(backend, size=2)
    running = [ask("a"), ask("b")]
    waiting = ask("c")
    await backend.begun(1)
    ask.batches.leave()
    with pytest.raises(NotNow):
        await waiting
    with pytest.raises(NotNow):
        await ask("d")
    assert ask.batches.room() == 0
    backend.finish()
    await answers(*running)


async def test_room_is_there_while_the_backend_is_free() -> None:
    backend = Served(joint=True)
    ask = make(backend, size=2, _1=3600.0)
    assert ask.batches.room() == 2
    task = ask("a")
    await backend.begun(1)
    assert ask.batches.room() == 0
    backend.finish()
    await answers(task)
    assert ask.batches.room() == 2


async def test_room_is_there_shortly_before_the_end_and_that_is_told() -> None:
    backend = Served(joint=True)
    heard = asyncio.Event()
    ask = Asked(Batches(backend, make_order(2, _1=0.3), heard.set))
    task = ask("a")
    await backend.begun(1)
    async with asyncio.timeout(PATIENCE):
        while ask.batches.room() != 2:
            heard.clear()
            await heard.wait()
    assert not task.done()
    backend.finish()
    await answers(task)


async def test_an_order_is_followed_at_once_and_is_news_once() -> None:
    backend = Served(joint=True)
    heard: list[int] = []
    batches = Batches(backend, make_order(1), lambda: heard.append(batches.room()))
    assert (batches.on, batches.use()) == (False, None)
    assert batches.order(make_order(3, _1=0.1))
    assert not batches.order(make_order(3, _1=0.1))
    assert (batches.on, heard) == (True, [3])
    ask = Asked(batches)
    tasks = [ask(str(number)) for number in range(4)]
    await backend.begun(1)
    assert len(backend.work[0]) == 3
    assert batches.order(make_order(100, _1=0.1))
    assert batches.size == Served.slots
    backend.finish()
    await backend.begun(2)
    backend.finish(1)
    await answers(*tasks)


async def test_what_was_done_is_told_once() -> None:
    backend = Served(joint=True)
    ask = make(backend, size=2)
    tasks = [ask("a"), ask("b"), ask("c")]
    await backend.begun(1)
    backend.finish()
    await backend.begun(2)
    use = ask.batches.use()
    assert use is not None
    assert (use.size, use.queued, use.batches, use.requests) == (2, 0, 1, 3)
    assert use.service > 0
    assert use.wait >= use.wait_p10 >= 0
    backend.finish(1)
    await answers(*tasks)
    use = ask.batches.use()
    assert use is not None
    assert (use.batches, use.requests) == (1, 0)


async def test_a_surprise_reaches_those_it_is_about() -> None:
    backend = Served(joint=True)
    ask = make(backend, size=2)
    tasks = [ask("a"), ask("b")]
    await backend.begun(1)
    backend.finish(0, ZeroDivisionError())
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [ZeroDivisionError, ZeroDivisionError]


async def test_for_a_full_batch_is_not_waited_long_however_far_the_deadline() -> None:
    backend = Served(joint=True)
    ask = Asked(Batches(backend, make_order(4, "agentos", _1=0.1, _4=0.2)))
    tasks = [ask("a", serve_by=time.time() + 3600), ask("b", serve_by=time.time() + 3600)]
    await backend.begun(1)
    backend.finish()
    await answers(*tasks)


async def test_a_slot_is_not_kept_for_more() -> None:
    backend = Served(joint=False)
    ask = Asked(Batches(backend, make_order(4, "agentos", _1=1000.0)))
    task = ask("a", serve_by=time.time() + 3600)
    await backend.begun(1)
    backend.finish()
    await answers(task)


async def test_a_backend_that_forgets_one_keeps_nobody_waiting() -> None:
    backend = Served(joint=True)
    ask = make(backend)
    tasks = [ask("a"), ask("b")]
    await backend.begun(1)
    backend.finish(0, [answer_to("a")])
    async with asyncio.timeout(PATIENCE):
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    assert outcomes[0] == answer_to("a")
    assert isinstance(outcomes[1], ValueError)


async def test_a_mistake_at_the_start_of_one_is_its_own() -> None:
    backend = Served(joint=True)
    ask = make(backend)

    def fail() -> None:
        raise ZeroDivisionError

    good = ask("good")
    bad = asyncio.create_task(ask.batches.call(make_call("bad"), None, None, fail))
    with pytest.raises(ZeroDivisionError):
        await bad
    await backend.begun(1)
    assert backend.work == [["good"]]
    backend.finish()
    await answers(good)


async def test_a_mistake_in_forming_reaches_those_who_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    backend = Served(joint=True)
    ask = make(backend)
    monkeypatch.setattr(ask.batches._former, "plan", lambda now: 1 / 0)
    task = ask("a")
    with pytest.raises(ZeroDivisionError):
        async with asyncio.timeout(PATIENCE):
            await task
    assert ask.batches.queued == 0
