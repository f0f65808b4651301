from __future__ import annotations

import asyncio
import json
import random
from typing import Any

import pytest

from core.errors import NotFound, StaleEpoch, TaskClosed
from store import Accepted, Epoch, Finish, InFlight, OwnedTask, Store, TaskState
from tests.store.helpers import count, dispatch, event, graph, owned

DEADLINE = 2_000_000_000.25


def finish(task: OwnedTask, state: TaskState = TaskState.COMPLETED, epoch: Epoch | None = None) -> Finish:
    return Finish(task_id=task.task_id, epoch=epoch or task.epoch, state=state, summary=f'{{"of": {task.task_id}}}')


async def test_a_submitted_graph_is_what_was_submitted(store: Store) -> None:
    new = graph(user="alice", description='{"nodes": []}', priority=7, deadline=DEADLINE, owner="c")
    (accepted,) = await store.submit_tasks([new])
    (task,) = await store.reload_tasks("c", [accepted.task_id])
    assert accepted == Accepted(
        task_id=task.task_id, fresh=True, same=True, user_id=task.user_id, weight=1.0, created_at=task.created_at
    )
    assert (task.epoch, task.description, task.priority, task.deadline) == (Epoch(0, 0), new.description, 7, DEADLINE)
    assert (await store.task(task.task_id)).user == "alice"
    assert await store.submit_tasks([]) == []


async def test_a_graph_without_a_user_is_the_nameless_ones(store: Store) -> None:
    (accepted,) = await store.submit_tasks([graph(user="")])
    assert accepted.user_id == 0
    assert (await store.task(accepted.task_id)).user == ""


async def test_a_key_is_one_graph_in_a_batch_and_after_it(store: Store, store_url: str) -> None:
    same, other, free = graph(idempotency_key="k"), graph(idempotency_key="k", fingerprint="g"), graph()
    first, again, reused, *unkeyed = await store.submit_tasks([same, same, other, free, free])
    assert [(each.fresh, each.same) for each in (first, again, reused)] == [
        (True, True),
        (False, True),
        (False, False),
    ]
    assert first.task_id == again.task_id == reused.task_id
    assert all(each.fresh and each.same for each in unkeyed)
    later = await store.submit_tasks([other, same])
    assert [(each.task_id, each.fresh, each.same) for each in later] == [
        (first.task_id, False, False),
        (first.task_id, False, True),
    ]
    assert await count(store_url, "tasks") == 3


async def test_a_key_is_its_users_own(store: Store) -> None:
    mine, theirs = await store.submit_tasks([graph(idempotency_key="k"), graph(idempotency_key="k", user="v")])
    assert mine.task_id != theirs.task_id
    assert (mine.fresh, theirs.fresh) == (True, True)


async def test_of_concurrent_submissions_with_the_same_keys_one_makes_each(store: Store, store_url: str) -> None:
    keyed = [graph(user=f"u{n % 5}", idempotency_key=f"k{n}") for n in range(30)]
    batches = await asyncio.gather(*(store.submit_tasks(random.sample(keyed, 30)) for _ in range(8)))
    accepted = [each for batch in batches for each in batch]
    assert sum(each.fresh for each in accepted) == len({each.task_id for each in accepted}) == 30
    assert await count(store_url, "tasks") == 30
    assert [user.name for user in await store.users()] == ["", "u0", "u1", "u2", "u3", "u4"]


async def test_a_graph_ends_once_and_only_under_its_epoch(store: Store) -> None:
    first, second = await owned(store, 2)
    stale, ended, twice, other = await store.finish(
        [finish(first, epoch=Epoch(0, 1)), finish(first), finish(first, TaskState.FAILED), finish(second)]
    )
    assert (stale, ended, twice, other) == (False, True, False, True)
    assert await store.finish([finish(first, TaskState.FAILED)]) == [False]
    row = await store.task(first.task_id)
    assert (row.state, row.summary) == (TaskState.COMPLETED, f'{{"of": {first.task_id}}}')
    assert row.finished_at is not None
    assert row.finished_at >= row.created_at
    assert await store.reload_tasks("c", [first.task_id, second.task_id]) == []
    assert await store.finish([]) == []


async def test_a_cancelled_graph_tells_what_is_in_flight_and_starts_nothing_more(store: Store) -> None:
    (task,) = await owned(store)
    await store.dispatch([dispatch(task, node_id=node, request_id=f"r-{node}") for node in "abc"])
    await store.fold([event(task_id=task.task_id, node_id="a")])
    assert await store.cancel(task.task_id) == [InFlight("mock", "r-b"), InFlight("mock", "r-c")]
    assert await store.claim_outbox("c", limit=9, lease_seconds=0) == []
    assert await store.dispatch([dispatch(task, node_id="d")]) == [None]
    assert await store.settle_node(task.task_id, task.epoch, "d", "{}") is False
    assert await store.finish([finish(task)]) == [False]
    assert await store.cancel(task.task_id) == []
    row = await store.task(task.task_id)
    assert (row.state, row.summary, row.epoch) == (TaskState.CANCELLED, "{}", task.epoch)


@pytest.mark.parametrize("rounds", range(3))
async def test_a_cancellation_misses_no_dispatch_that_it_met(store: Store, rounds: int) -> None:
    tasks = await owned(store, 10)
    batches = [[dispatch(task, node_id=str(n)) for task in random.sample(tasks, 10)] for n in range(6)]
    answers: list[Any] = await asyncio.gather(
        *(store.dispatch(batch) for batch in batches[:3]),
        *(store.cancel(task.task_id) for task in tasks),
        *(store.dispatch(batch) for batch in batches[3:]),
    )
    stopped = {each.request_id for told in answers[3:13] for each in told if isinstance(each, InFlight)}
    numbers = [*answers[:3], *answers[13:]]
    committed = {
        each.request_id
        for batch, told in zip(batches, numbers, strict=True)
        for each, number in zip(batch, told, strict=True)
        if number is not None
    }
    assert stopped == committed
    assert await store.claim_outbox("c", limit=99, lease_seconds=0) == []


async def test_a_result_of_a_graph_that_has_ended_is_still_a_fact(store: Store, store_url: str) -> None:
    (task,) = await owned(store)
    await store.dispatch([dispatch(task)])
    await store.cancel(task.task_id)
    (fate,) = await store.fold([event(task_id=task.task_id, response="[]")])
    assert fate.graph
    assert [row.node_id for row in await store.settled_among([(task.task_id, "n")])] == ["n"]
    assert await count(store_url, "ledger") == 1


async def test_a_revision_is_under_the_next_epoch_and_fences_the_one_before(store: Store) -> None:
    (task,) = await owned(store)
    assert await store.revise(task.task_id, task.epoch, '{"new": 1}') == Epoch(0, 1)
    assert await store.dispatch([dispatch(task)]) == [None]
    with pytest.raises(StaleEpoch, match="regional_epoch=1"):
        await store.revise(task.task_id, task.epoch, '{"late": 1}')
    (again,) = await store.reload_tasks("c", [task.task_id])
    assert (again.epoch, again.description) == (Epoch(0, 1), '{"new": 1}')
    assert None not in await store.dispatch([dispatch(again)])


async def test_of_concurrent_revisions_of_an_epoch_one_is_made(store: Store) -> None:
    (task,) = await owned(store)

    async def revise(number: int) -> int | None:
        try:
            await store.revise(task.task_id, task.epoch, str(number))
        except StaleEpoch:
            return None
        return number

    (made,) = [number for number in await asyncio.gather(*map(revise, range(12))) if number is not None]
    row = await store.task(task.task_id)
    assert (row.description, row.epoch) == (str(made), Epoch(0, 1))


async def test_what_has_ended_is_not_revised(store: Store) -> None:
    (task,) = await owned(store)
    await store.finish([finish(task, TaskState.FAILED)])
    with pytest.raises(TaskClosed, match="failed"):
        await store.revise(task.task_id, task.epoch, "{}")


async def test_what_is_no_graph_is_not_found(store: Store) -> None:
    chat = await store.create_task(0, "chat.completion", "{}")
    for task_id in (chat, 10**9):
        with pytest.raises(NotFound):
            await store.cancel(task_id)
        with pytest.raises(NotFound):
            await store.revise(task_id, Epoch(0, 0), "{}")
        with pytest.raises(NotFound):
            await store.task(task_id)
        assert await store.settle_node(task_id, Epoch(0, 0), "n", "{}") is False
    assert await store.tasks() == []


async def test_an_owner_settles_a_node_that_nobody_served_once(store: Store) -> None:
    (task,) = await owned(store)
    failed = '{"outcome": "failed", "error": {"message": "\\u0000"}}'
    assert await store.settle_node(task.task_id, Epoch(1, 0), "n", failed) is False
    assert await store.settle_node(task.task_id, task.epoch, "n", failed) is True
    assert await store.settle_node(task.task_id, task.epoch, "n", '{"outcome": "completed"}') is False
    (row,) = await store.nodes_of([task.task_id])
    assert (row.request_id, row.attempt, row.dispatched_at, row.result) == (None, 0, None, failed)
    assert json.loads((await store.get_progress(task.task_id, "n")).result)["outcome"] == "failed"
