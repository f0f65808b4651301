"""Every way an attempt ends: what the client hears, what the result topic hears, and what becomes of the message."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import msgspec
import pytest

from bus.messages import NodeType, Usage
from bus.port import REASON_PROPERTY, Bus
from bus.topics import control_channel, model_subscription, model_topic
from tests.workernode.road import PATIENCE, RESULTS, Road
from workernode.backends.base import Answer, Call, Sink
from workernode.classify import Retry, Verdict, error_object
from workernode.errors import CallFailed
from workernode.resources import Capacity
from workernode.settings import WorkerSettings

ANSWER = Answer(b'{"id":"x","choices":[]}', Usage(1, 2, 3), estimated=False, first_token_at=None)
Behaviour = Callable[[Call, Sink | None], Any]


class Scripted:
    """A backend whose calls do what the test says; `calls` holds those that were made."""

    node_type: NodeType = "mock"
    slots = 4
    joint = None

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.called = asyncio.Event()
        self.behave: Behaviour = lambda call, sink: ANSWER

    async def start(self) -> None: ...
    async def close(self) -> None: ...
    async def check(self) -> None: ...

    def capacity(self) -> Capacity:
        return Capacity(self.slots)

    async def call(self, call: Call, sink: Sink | None) -> Answer:
        self.calls.append(call)
        self.called.set()
        outcome = self.behave(call, sink)
        if asyncio.iscoroutine(outcome):
            outcome = await outcome
        if isinstance(outcome, Exception):
            raise outcome
        assert isinstance(outcome, Answer)
        return outcome


class ScriptedRoad(Road):
    """A road whose worker does what the test says."""

    def __init__(self, bus: Bus, backend: Scripted, settings: WorkerSettings) -> None:
        super().__init__(bus, backend, settings)
        self.backend = backend


@pytest.fixture
async def road(embedded_bus: Bus) -> AsyncIterator[ScriptedRoad]:
    settings = WorkerSettings(
        node_type="mock", model_name="m", bus_url="x", res_topic_name=RESULTS, max_attempts=2, grace_seconds=5
    )
    road = ScriptedRoad(embedded_bus, Scripted(), settings)
    await road.start()
    living = asyncio.create_task(road.live())
    await road.present()
    yield road
    road.stop.signal()
    await living


def failure(retry: Retry, status: int = 500, **options: Any) -> CallFailed:
    error = error_object("It failed.", "upstream_error", "boom")
    return CallFailed(Verdict(retry, status, error, retry_after=0.0), **options)


async def test_an_answer_reaches_the_client_and_the_result_topic(road: ScriptedRoad) -> None:
    await road.send(task={"task_id": 7, "node_id": "0", "global_epoch": 1, "regional_epoch": 2})
    frame, result = await road.frame(), await road.result()
    assert (bytes(frame.data), frame.end, frame.status, frame.seq) == (ANSWER.response, True, 200, 0)
    assert (result.outcome, result.usage, result.reached_provider) == ("completed", Usage(1, 2, 3), True)
    assert result.event_id == frame.event_id == road.backend.calls[0].headers["x-client-request-id"]
    assert bytes(result.response) == ANSWER.response
    assert result.task is not None
    assert result.task.task_id == 7
    await road.settled()
    assert len(road.backend.calls) == 1


async def test_a_result_without_a_task_tells_no_content(road: ScriptedRoad) -> None:
    await road.send()
    assert bytes((await road.result()).response) == b""


async def test_a_stream_leaves_chunk_by_chunk_and_ends_bare(road: ScriptedRoad) -> None:
    def two_chunks(call: Call, sink: Sink | None) -> Answer:
        assert sink is not None
        sink.chunk(b'{"n":1}')
        sink.chunk(b'{"n":2}')
        return ANSWER

    road.backend.behave = two_chunks
    await road.send(stream=True)
    frames = [await road.frame() for _ in range(3)]
    assert [(bytes(each.data), each.end, each.seq) for each in frames] == [
        (b'{"n":1}', False, 0),
        (b'{"n":2}', False, 1),
        (b"", True, 2),
    ]


async def test_a_final_failure_is_told_and_acked(road: ScriptedRoad) -> None:
    road.backend.behave = lambda call, sink: failure(Retry.NEVER, 400)
    await road.send()
    frame, result = await road.frame(), await road.result()
    assert (frame.status, frame.end) == (400, True)
    assert msgspec.json.decode(frame.data)["error"]["code"] == "boom"
    assert (result.outcome, result.status) == ("failed", 400)
    await road.settled()
    assert len(road.backend.calls) == 1


async def test_what_may_succeed_elsewhere_is_tried_again_and_each_attempt_is_told(road: ScriptedRoad) -> None:
    outcomes = [failure(Retry.BACK_OFF), ANSWER]
    road.backend.behave = lambda call, sink: outcomes.pop(0)
    await road.send()
    first, second = await road.result(), await road.result()
    assert (first.outcome, first.attempt, second.outcome, second.attempt) == ("retried", 1, "completed", 2)
    assert first.event_id != second.event_id
    assert (await road.frame()).status == 200


async def test_the_last_attempt_fails_by_name(road: ScriptedRoad) -> None:
    road.backend.behave = lambda call, sink: failure(Retry.BACK_OFF, 503)
    await road.send()
    assert [(await road.result()).outcome for _ in range(2)] == ["retried", "failed"]
    assert (await road.frame()).status == 503
    await road.settled()
    assert len(road.backend.calls) == 2


async def test_an_attempt_that_reached_no_provider_and_is_tried_again_is_not_told(road: ScriptedRoad) -> None:
    outcomes = [failure(Retry.BACK_OFF, reached_provider=False), ANSWER]
    road.backend.behave = lambda call, sink: outcomes.pop(0)
    await road.send()
    assert (await road.result()).outcome == "completed"


async def test_a_stream_that_broke_after_its_first_chunk_is_not_tried_again(road: ScriptedRoad) -> None:
    def half(call: Call, sink: Sink | None) -> Exception:
        assert sink is not None
        sink.chunk(b'{"n":1}')
        return failure(Retry.BACK_OFF, 502, usage=Usage(5, 1, 6))

    road.backend.behave = half
    await road.send(stream=True)
    assert [(await road.frame()).status for _ in range(2)] == [200, 502]
    result = await road.result()
    assert (result.outcome, result.usage, result.estimated) == ("failed", Usage(5, 1, 6), True)


async def test_a_surprise_in_the_backend_fails_one_request_by_name_and_no_other(road: ScriptedRoad) -> None:
    road.backend.behave = lambda call, sink: ZeroDivisionError() if call.request_id == "bad" else ANSWER
    await road.send(request_id="bad")
    frame = await road.frame()
    assert (frame.request_id, frame.status) == ("bad", 500)
    await road.send(request_id="good")
    assert (await road.frame()).request_id == "good"


async def test_a_running_call_is_cancelled_by_the_gateway(road: ScriptedRoad) -> None:
    stopped = asyncio.Event()

    async def for_ever(call: Call, sink: Sink | None) -> Answer:
        try:
            await asyncio.Event().wait()
        finally:
            stopped.set()
        return ANSWER

    road.backend.behave = for_ever
    await road.send()
    await road.backend.called.wait()
    await road.bus.send(control_channel("m"), b'{"cancel":["r1"]}')
    async with asyncio.timeout(PATIENCE):
        await stopped.wait()
    assert (await road.result()).outcome == "cancelled"
    await road.settled()


async def test_a_cancelled_request_that_comes_later_is_never_called(road: ScriptedRoad) -> None:
    await road.bus.send(control_channel("m"), b'{"cancel":["r1"]}')
    await road.send(request_id="r0")
    await road.result()
    await road.send()
    result = await road.result()
    assert (result.outcome, result.reached_provider) == ("cancelled", False)
    assert [call.request_id for call in road.backend.calls] == ["r0"]


async def test_a_request_whose_deadline_has_passed_is_told_so_and_never_called(road: ScriptedRoad) -> None:
    await road.send(deadline=time.time() - 1)
    frame, result = await road.frame(), await road.result()
    assert (frame.status, msgspec.json.decode(frame.data)["error"]["code"]) == (504, "deadline_exceeded")
    assert (result.outcome, result.reached_provider, road.backend.calls) == ("expired", False, [])


@pytest.mark.parametrize("body", [b"not json", b'{"request_id": 1, "data": {}}', b'{"request_id":"r","data":[1]}'])
async def test_what_is_no_request_goes_to_the_dead_letters_with_the_reason(road: ScriptedRoad, body: bytes) -> None:
    await road.publish(body)
    letter = await road.dead_letter()
    assert letter.body == body
    assert letter.properties[REASON_PROPERTY].startswith("not a request message:")
    await road.send()
    assert (await road.frame()).status == 200


async def test_a_large_body_comes_by_claim_check_and_one_served_before_is_acked(road: ScriptedRoad) -> None:
    reference = await road.bus.put_blob(b'{"model":"m","big":true}')
    await road.send(data={}, data_ref=reference)
    result = await road.result()
    assert road.backend.calls[0].body == {"model": "m", "big": True}
    assert result.request_ref == reference
    await road.bus.drop_blob(reference)
    await road.send(data={}, data_ref=reference)
    await road.settled()
    assert len(road.backend.calls) == 1


async def test_a_large_answer_is_left_to_the_store(road: ScriptedRoad) -> None:
    large = msgspec.json.encode({"text": "x" * 1_500_000})
    road.backend.behave = lambda call, sink: Answer(large, Usage(1, 1, 2), estimated=False, first_token_at=None)
    await road.send(task={"task_id": 7, "node_id": "0", "global_epoch": 0, "regional_epoch": 0})
    frame, result = await road.frame(), await road.result()
    assert (frame.stored, bytes(frame.data), bytes(result.response)) == (True, b"", b"")
    assert result.response_ref is not None
    assert await road.bus.get_blob(result.response_ref) == large


async def test_no_more_calls_run_than_there_are_slots(road: ScriptedRoad) -> None:
    gate = asyncio.Event()
    running = 0
    most = 0

    async def wait(call: Call, sink: Sink | None) -> Answer:
        nonlocal running, most
        running += 1
        most = max(most, running)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(gate.wait(), 0.05)
        running -= 1
        return ANSWER

    road.backend.behave = wait
    for number in range(20):
        await road.send(request_id=f"r{number}")
    for _ in range(20):
        await road.result()
    assert most == Scripted.slots


async def test_a_stop_lets_running_calls_finish(road: ScriptedRoad) -> None:
    finish = asyncio.Event()

    async def wait(call: Call, sink: Sink | None) -> Answer:
        await finish.wait()
        return ANSWER

    road.backend.behave = wait
    await road.send()
    await road.backend.called.wait()
    road.stop.signal()
    await asyncio.sleep(0)
    finish.set()
    assert (await road.result()).outcome == "completed"


async def test_a_hurried_stop_gives_running_calls_back(road: ScriptedRoad) -> None:
    async def for_ever(call: Call, sink: Sink | None) -> Answer:
        await asyncio.Event().wait()
        return ANSWER

    road.backend.behave = for_ever
    await road.send()
    await road.backend.called.wait()
    road.stop.signal()
    road.stop.signal()
    subscription = await road.bus.subscribe(model_topic("m"), model_subscription("m"), window=1)
    async with asyncio.timeout(PATIENCE):
        assert b"r1" in (await subscription.receive())[0].body
