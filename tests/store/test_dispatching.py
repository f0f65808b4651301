from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest
from msgspec.structs import replace

from store import Epoch, FoldOutcome, NodeRow, OutboxRow, Store
from tests.store.helpers import count, dispatch, event, outcomes, owned


async def test_a_dispatch_is_a_request_and_a_message_under_the_tasks_epoch(store: Store) -> None:
    (task,) = await owned(store)
    sent = dispatch(task, body='{"model": "mock"}', envelope='{"request_id": "r"}', request_id="r")
    (outbox_id,) = await store.dispatch([sent])
    (row,) = await store.claim_outbox("other", limit=9, lease_seconds=60)
    assert row == OutboxRow(
        outbox_id=outbox_id or 0,
        task_id=task.task_id,
        node_id="n",
        epoch=task.epoch,
        topic=sent.topic,
        subscription=sent.subscription,
        envelope=sent.envelope,
        body=sent.body,
        created_at=row.created_at,
    )
    (node,) = await store.nodes_of([task.task_id])
    assert node == NodeRow(
        task_id=task.task_id,
        node_id="n",
        request_id="r",
        model="mock",
        attempt=1,
        dispatched_at=node.dispatched_at,
        result=None,
    )
    assert (await store.task(task.task_id)).running
    assert await store.dispatch([]) == []


async def test_a_node_is_dispatched_once(store: Store, store_url: str) -> None:
    (task,) = await owned(store)
    first, second, other = await store.dispatch([dispatch(task), dispatch(task), dispatch(task, node_id="m")])
    assert (first is None, second, other is None) == (False, None, False)
    assert await store.dispatch([dispatch(task)]) == [None]
    assert await count(store_url, "dispatches") == await count(store_url, "outbox") == 2


@pytest.mark.parametrize("epoch", [Epoch(0, 0), Epoch(0, 2), Epoch(1, 0)])
async def test_a_dispatch_under_any_other_epoch_is_refused(store: Store, store_url: str, epoch: Epoch) -> None:
    (task,) = await owned(store)
    now = await store.revise(task.task_id, task.epoch, "{}")
    assert await store.dispatch([dispatch(task, epoch=epoch)]) == [None]
    assert await count(store_url, "documents") == await count(store_url, "dispatches") == 0
    assert await store.dispatch([dispatch(task, epoch=epoch), dispatch(task, epoch=now)]) != [None, None]


async def test_the_next_attempt_forgets_the_failed_one(store: Store, store_url: str) -> None:
    (task,) = await owned(store)
    await store.dispatch([dispatch(task)])
    await store.fold([event(task_id=task.task_id, outcome="failed", response="[]")])
    assert await count(store_url, "documents") == 2
    assert await store.dispatch([dispatch(task)]) == [None]
    assert await store.dispatch([dispatch(task, attempt=2, request_id="r2")]) != [None]
    assert await count(store_url, "documents") == 2  # both requests; the response is gone
    (node,) = await store.nodes_of([task.task_id])
    assert (node.attempt, node.request_id, node.result) == (2, "r2", None)
    assert await store.dispatch([dispatch(task, attempt=2), dispatch(task, attempt=1)]) == [None, None]


async def test_the_next_attempt_takes_the_earlier_ones_message_from_the_outbox(store: Store) -> None:
    """Its owner died before it could: nobody is to publish it again."""
    (task,) = await owned(store)
    (first,) = await store.dispatch([dispatch(task)])
    await store.fold([event(task_id=task.task_id, result='{"outcome": "failed"}', outcome="failed")])
    (second,) = await store.dispatch([dispatch(task, attempt=2)])
    assert second not in (None, first)
    assert [row.outbox_id for row in await store.claim_outbox("b", limit=9, lease_seconds=60)] == [second]


async def test_a_completed_node_is_not_dispatched_again(store: Store) -> None:
    (task,) = await owned(store)
    await store.dispatch([dispatch(task)])
    await store.fold([event(task_id=task.task_id, outcome="completed", response="[]")])
    assert await store.dispatch([dispatch(task, attempt=2)]) == [None]
    assert (await store.answers([task.task_id]))[task.task_id].response == "[]"


async def test_a_node_that_its_owner_settled_takes_no_first_attempt(store: Store) -> None:
    (task,) = await owned(store)
    await store.settle_node(task.task_id, task.epoch, "n", '{"outcome": "failed"}')
    assert await store.dispatch([dispatch(task)]) == [None]


async def test_a_late_result_of_an_earlier_attempt_leaves_one_result(store: Store) -> None:
    """The bus may deliver a request twice: its second run can end after the node was dispatched again."""
    (task,) = await owned(store)
    await store.dispatch([dispatch(task, request_id="r1")])
    await store.fold([event(task_id=task.task_id, request_id="r1", outcome="failed")])
    await store.dispatch([dispatch(task, attempt=2, request_id="r2")])
    late = event(task_id=task.task_id, request_id="r1", response='"r1"')
    of_the_second = event(task_id=task.task_id, request_id="r2", response='"r2"')
    assert await outcomes(store, [late]) == [FoldOutcome.FOLDED]
    assert await outcomes(store, [of_the_second]) == [FoldOutcome.LATE]
    assert (await store.answers([task.task_id]))[task.task_id].response == '"r1"'
    newer = replace(of_the_second, event_id="newer", epoch=Epoch(0, 1))
    assert await outcomes(store, [newer]) == [FoldOutcome.FOLDED]
    assert (await store.answers([task.task_id]))[task.task_id].response == '"r2"'


@pytest.mark.parametrize("rounds", range(3))
async def test_concurrent_batches_dispatch_each_node_once(store: Store, store_url: str, rounds: int) -> None:
    tasks = await owned(store, 20)
    wanted = [dispatch(task, node_id=str(n)) for task in tasks for n in range(3)]
    folds = [event(task_id=task.task_id, node_id="0", outcome="failed") for task in tasks]
    answers: list[Any] = await asyncio.gather(
        *(store.dispatch(random.sample(wanted, 60)) for _ in range(5)),
        *(store.fold(random.sample(folds, 20)) for _ in range(3)),
    )
    numbers = [number for told in answers[:5] for number in told if isinstance(number, int)]
    assert (
        len(numbers) == len(set(numbers)) == await count(store_url, "dispatches") == await count(store_url, "outbox")
    )
    again = [dispatch(task, node_id="0", attempt=2) for task in tasks]
    retries = await asyncio.gather(*(store.dispatch(random.sample(again, 20)) for _ in range(4)))
    assert sum(number is not None for told in retries for number in told) == 20


async def test_a_deleted_graph_takes_its_dispatches_with_it(store: Store, store_url: str) -> None:
    (task,) = await owned(store)
    await store.dispatch([dispatch(task)])
    await store.delete_task(task.task_id)
    assert [await count(store_url, table) for table in ("dispatches", "outbox", "documents")] == [0, 0, 0]
