"""The fold on a real store and a real bus: what is acked, what is a dead letter, what is kept for later."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import msgspec
import pytest
from prometheus_client import REGISTRY

from bus import messages
from bus.messages import MISSING, NodeEvent, ResultMessage, TaskRef, Usage
from bus.port import DEAD_LETTER_SUBSCRIPTION, REASON_PROPERTY, Bus, Outgoing, dead_letter_topic
from bus.topics import FOLD_SUBSCRIPTION
from coordinator.folder import Folder
from coordinator.tasks.news import Settled
from coordinator.tracing import Traces
from core.errors import BlobMissing
from core.spans import NO_TRACING
from store import Answer, Epoch, Store
from tests.store.helpers import count as rows

TOPIC = "results"
PATIENCE = 20.0


class Road:
    """A fold that runs, and what it told."""

    def __init__(self, bus: Bus, store: Store) -> None:
        self.bus = bus
        self.store = store
        self.answers: asyncio.Queue[tuple[int, Answer]] = asyncio.Queue()
        self.settled: asyncio.Queue[list[Settled]] = asyncio.Queue()
        traces = Traces(NO_TRACING, "postgresql")
        self.folder = Folder(
            bus,
            store,
            TOPIC,
            on_answer=lambda task, answer: self.answers.put_nowait((task, answer)),
            on_settled=lambda nodes, _: self.settled.put_nowait(nodes),
            traces=traces,
        )

    async def publish(self, *bodies: bytes) -> None:
        publisher = await self.bus.publisher(TOPIC, batching=True)
        await publisher.publish([Outgoing(body) for body in bodies])

    async def answer(self) -> tuple[int, Answer]:
        async with asyncio.timeout(PATIENCE):
            return await self.answers.get()

    async def drained(self) -> None:
        async with asyncio.timeout(PATIENCE):
            while any(vars_of(await self.bus.backlog(TOPIC, FOLD_SUBSCRIPTION))):  # noqa: ASYNC110
                await asyncio.sleep(0.02)  # the figures send no event


def vars_of(backlog: object) -> list[int]:
    return [getattr(backlog, name) for name in ("ready", "delayed", "in_flight")]


@pytest.fixture
async def road(embedded_bus: Bus, store: Store) -> AsyncIterator[Road]:
    road = Road(embedded_bus, store)
    await embedded_bus.ensure_subscription(TOPIC, FOLD_SUBSCRIPTION)
    running = asyncio.create_task(road.folder.run())
    yield road
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


def event(task_id: int | None, *, event_id: str = "e1", **fields: object) -> bytes:
    task = TaskRef(task_id=task_id, node_id="0", global_epoch=0, regional_epoch=0) if task_id is not None else None
    base = ResultMessage(
        request_id="r",
        usage=Usage(1, 2, 3),
        model="m",
        ai_model_name=None,
        ai_model_namespace=None,
        event_id=event_id,
        outcome="completed",
        node="n",
        node_type="mock",
        stream=False,
        reached_provider=True,
        response=msgspec.Raw(b'{"id":"x"}'),
        task=task,
    )
    return messages.encode(msgspec.structs.replace(base, **fields))


async def test_a_result_becomes_progress_and_is_told_once_however_often_it_comes(road: Road) -> None:
    task_id = await road.store.create_task(0, "t", "{}", epoch=Epoch(0, 0))
    await road.publish(event(task_id), event(task_id))
    told, answer = await road.answer()
    assert (told, answer.response) == (task_id, '{"id":"x"}')
    await road.drained()
    assert road.answers.empty()
    assert msgspec.json.decode((await road.store.get_progress(task_id, "0")).result)["outcome"] == "completed"


async def test_what_is_no_result_goes_to_the_dead_letters_and_the_others_are_folded(road: Road) -> None:
    task_id = await road.store.create_task(0, "t", "{}", epoch=Epoch(0, 0))
    await road.publish(b"not json", event(task_id))
    await road.answer()
    letters = await road.bus.subscribe(
        dead_letter_topic(TOPIC, FOLD_SUBSCRIPTION), DEAD_LETTER_SUBSCRIPTION, window=1
    )
    async with asyncio.timeout(PATIENCE):
        assert "not a result message" in (await letters.receive())[0].properties[REASON_PROPERTY]


@pytest.mark.parametrize("outcome", ["retried", "abandoned"])
async def test_an_attempt_that_others_follow_settles_nothing(road: Road, outcome: str) -> None:
    task_id = await road.store.create_task(0, "t", "{}", epoch=Epoch(0, 0))
    reference = await road.bus.put_blob(b"{}")
    await road.publish(
        event(task_id, event_id="e1", outcome=outcome, request_ref=reference), event(task_id, event_id="e2")
    )
    _, answer = await road.answer()
    assert msgspec.json.decode(answer.result)["outcome"] == "completed"
    await road.drained()
    assert road.answers.empty()
    assert await road.bus.get_blob(reference) == b"{}"  # the next attempt needs it


async def test_a_quarantined_request_is_settled(road: Road) -> None:
    task_id = await road.store.create_task(0, "t", "{}", epoch=Epoch(0, 0))
    await road.publish(event(task_id, outcome="quarantined", response=MISSING, error={"code": "quarantined"}))
    assert msgspec.json.decode((await road.answer())[1].result)["outcome"] == "quarantined"


async def test_node_events_are_counted_and_acked_and_leave_no_row(road: Road, store_url: str) -> None:
    def count() -> float:
        labels = {"event": "unavailable", "reason": "APIQuotaExceededError"}
        return REGISTRY.get_sample_value("agentos_node_events_total", labels) or 0

    before = count()
    told = NodeEvent(
        event="unavailable",
        event_id="n1",
        node="n",
        node_type="remote",
        model="m",
        ai_model_name="a",
        ai_model_namespace="ns",
        reason="APIQuotaExceededError",
        message="The quota of this model's upstream is used up.",
        at=2.5,
        since=1.5,
    )
    task_id = await road.store.create_task(0, "t", "{}", epoch=Epoch(0, 0))
    await road.publish(messages.encode(told), event(task_id))
    assert (await road.answer())[0] == task_id
    await road.drained()
    assert count() == before + 1
    assert await rows(store_url, "ledger") == 1  # that of the attempt
    letters = dead_letter_topic(TOPIC, FOLD_SUBSCRIPTION)
    assert not any(vars_of(await road.bus.backlog(letters, DEAD_LETTER_SUBSCRIPTION)))


async def test_a_large_response_comes_from_its_blob_which_is_dropped_then(road: Road) -> None:
    task_id = await road.store.create_task(0, "t", "{}", epoch=Epoch(0, 0))
    large = b'{"text":"' + b"x" * 2_000_000 + b'"}'
    reference = await road.bus.put_blob(large)
    await road.publish(event(task_id, response=MISSING, response_ref=reference))
    assert (await road.answer())[1].response == large.decode()
    await road.drained()
    with pytest.raises(BlobMissing):
        await road.bus.get_blob(reference)


async def test_counts_that_no_table_can_hold_are_folded_all_the_same(road: Road) -> None:
    task_id = await road.store.create_task(0, "t", "{}", epoch=Epoch(0, 0))
    await road.publish(event(task_id, usage=Usage(-1, 10**18, 10**18), status=2**40))
    assert (await road.answer())[0] == task_id
