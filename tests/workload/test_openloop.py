from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from core.errors import BadMessage
from workload.arrivals import Arrival
from workload.door import Lost
from workload.errors import GatewayRefused, GatewayUnavailable, TaskFailed
from workload.openloop import OpenLoop, name_of
from workload.passage import UNFINISHED


async def test_a_request_is_sent_when_it_is_due_though_none_was_answered() -> None:
    release = asyncio.Event()
    sent: list[Arrival] = []

    async def send(arrival: Arrival, heard: Callable[[], None]) -> None:
        sent.append(arrival)
        if len(sent) == 3:
            release.set()
        await release.wait()
        heard()
        heard()

    arrivals = [Arrival(0), Arrival(0.01), Arrival(0.05)]
    outcomes = await OpenLoop(send).run(arrivals, drain_seconds=30)
    assert sent == arrivals
    assert {each.error for each in outcomes} == {None}
    for each, arrival in zip(sorted(outcomes, key=lambda each: each.due), arrivals, strict=True):
        assert each.done is not None
        assert each.first is not None
        assert each.due == arrival.at <= each.sent <= each.first <= each.done
        assert each.done >= 0.05


async def test_failures_are_counted_by_name_and_what_does_not_end_is_unfinished() -> None:
    async def send(arrival: Arrival, heard: Callable[[], None]) -> None:
        if arrival.answer_tokens:
            await asyncio.Event().wait()
        raise GatewayRefused(429, {"code": "rate_limit_exceeded"})

    loop = OpenLoop(send)
    outcomes = await loop.run([Arrival(0), Arrival(0, 1, 1)], drain_seconds=0.05)
    assert sorted(str(each.error) for each in outcomes) == ["rate_limit_exceeded", UNFINISHED]
    assert [each.done is None for each in outcomes] == [False, True]
    assert loop.sent == 2


async def test_cancelled_it_keeps_what_it_has_seen() -> None:
    answered = asyncio.Event()

    async def send(arrival: Arrival, heard: Callable[[], None]) -> None:
        if arrival.at:
            await asyncio.Event().wait()
        answered.set()

    loop = OpenLoop(send)
    running = asyncio.create_task(loop.run([Arrival(0), Arrival(0.001), Arrival(1000)], drain_seconds=0))
    await answered.wait()
    while loop.sent < 2:  # noqa: ASYNC110
        await asyncio.sleep(0.001)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert [each.error for each in loop.outcomes] == [None, UNFINISHED]


async def test_a_bug_is_no_failed_request() -> None:
    async def send(arrival: Arrival, heard: Callable[[], None]) -> None:
        raise ZeroDivisionError

    with pytest.raises(ExceptionGroup) as raised:
        await OpenLoop(send).run([Arrival(0)], drain_seconds=1)
    assert raised.group_contains(ZeroDivisionError)


def test_failures_have_names() -> None:
    task = {"id": "task_1", "status": "failed", "error": {"code": "budget_exceeded"}}
    assert name_of(TaskFailed(task)) == "budget_exceeded"
    assert name_of(TaskFailed({**task, "status": "cancelled", "error": None})) == "cancelled"
    assert name_of(GatewayRefused(418, {})) == "status 418"
    assert name_of(GatewayUnavailable("gone")) == "unavailable"
    assert name_of(Lost("gone")) == "connection_lost"
    assert name_of(Lost("later", code="store_unavailable")) == "store_unavailable"
    assert name_of(BadMessage("?")) == "BadMessage"
