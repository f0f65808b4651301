from __future__ import annotations

import asyncio
import time

import pytest
from msgspec.structs import replace

from core.errors import StoreError, StoreUnavailable
from store import Epoch, Finish, OutboxRow, Store, TaskState
from tests.store.helpers import SUBMISSION, barrier, count, dispatch, event, eyes, owned, waiting

TABLES = ("tasks", "documents", "outbox")
ABANDONED = replace(SUBMISSION, lease_seconds=0.0)


async def test_a_submission_is_a_task_a_document_and_a_message(store: Store, store_url: str) -> None:
    batch = [replace(SUBMISSION, body=f'"{n}"', user_id=n, epoch=Epoch(n, 1)) for n in range(3)]
    submitted = await store.submit(batch)
    assert [await store.get_document(each.doc_id) for each in submitted] == ['"0"', '"1"', '"2"']
    tasks = [await store.get_task(each.task_id) for each in submitted]
    assert tasks == [(n, "chat", SUBMISSION.description) for n in range(3)]
    assert await count(store_url, "outbox") == 3
    assert await store.submit([]) == []


async def test_a_claimed_message_is_the_one_that_was_submitted(store: Store) -> None:
    (submitted,) = await store.submit([replace(ABANDONED, epoch=Epoch(2, 3))])
    (row,) = await store.claim_outbox("other", limit=9, lease_seconds=60)
    assert abs(row.created_at - time.time()) < 60
    assert [row] == [
        OutboxRow(
            outbox_id=submitted.outbox_id,
            task_id=submitted.task_id,
            node_id=SUBMISSION.node_id,
            epoch=Epoch(2, 3),
            topic=SUBMISSION.topic,
            subscription=SUBMISSION.subscription,
            envelope=SUBMISSION.envelope,
            body=SUBMISSION.body,
            created_at=row.created_at,
        )
    ]


async def test_a_batch_with_one_bad_submission_leaves_nothing(store: Store, store_url: str) -> None:
    with pytest.raises(StoreError):
        await store.submit([SUBMISSION, replace(SUBMISSION, epoch=Epoch(-1, 0)), SUBMISSION])
    assert [await count(store_url, table) for table in TABLES] == [0, 0, 0]


async def test_a_connection_lost_in_mid_submission_leaves_nothing(store: Store, store_url: str) -> None:
    async with barrier(store_url, "outbox") as connection:
        submission = asyncio.create_task(store.submit([SUBMISSION] * 3))
        pid = await waiting(connection)
        await connection.execute("select pg_terminate_backend($1, 10000)", pid)
        with pytest.raises(StoreUnavailable):
            await submission
    assert [await count(store_url, table) for table in TABLES] == [0, 0, 0]


async def test_a_message_is_its_owners_until_the_lease_has_run_out(store: Store, store_url: str) -> None:
    await store.submit([SUBMISSION])
    (row,) = await store.submit([ABANDONED])
    assert [each.outbox_id for each in await store.claim_outbox("b", limit=9, lease_seconds=60)] == [row.outbox_id]
    assert await store.claim_outbox("c", limit=9, lease_seconds=60) == []
    async with eyes(store_url) as connection:
        await connection.execute("update outbox set claimed_until = now() where claimed_by = 'b'")
    assert [each.outbox_id for each in await store.claim_outbox("c", limit=9, lease_seconds=60)] == [row.outbox_id]


async def test_a_published_message_is_gone_and_its_request_stays(store: Store) -> None:
    (row,) = await store.submit([ABANDONED])
    await store.published([row.outbox_id], lease_seconds=0)
    await store.published([row.outbox_id], lease_seconds=0)
    assert await store.claim_outbox("b", limit=9, lease_seconds=60) == []
    assert await store.get_document(row.doc_id) == ABANDONED.body


async def test_two_owners_never_claim_the_same_message(store: Store) -> None:
    submitted = await store.submit([ABANDONED] * 200)

    async def claim_all(owner: str) -> list[int]:
        mine: list[int] = []
        while rows := await store.claim_outbox(owner, limit=7, lease_seconds=600):
            mine += [row.outbox_id for row in rows]
        return mine

    claimed = await asyncio.gather(*(claim_all(f"owner-{n}") for n in range(6)))
    assert sorted(number for mine in claimed for number in mine) == [row.outbox_id for row in submitted]


async def test_claims_are_kept_of_what_is_still_to_be_published(store: Store, store_url: str) -> None:
    submitted = await store.submit([ABANDONED] * 4)
    numbers = [row.outbox_id for row in submitted]
    await store.claim_outbox("a", limit=9, lease_seconds=0)
    mine, other, _, gone = numbers
    async with eyes(store_url) as connection:
        await connection.execute("update outbox set claimed_by = 'b' where outbox_id = $1", other)
    await store.fold([event(task_id=submitted[2].task_id)])
    await store.published([gone], lease_seconds=0)
    assert await store.keep_claims("a", numbers, lease_seconds=60) == {mine}
    claimed = await store.claim_outbox("c", limit=9, lease_seconds=60)
    assert [row.outbox_id for row in claimed] == [other]
    assert await count(store_url, "outbox") == 2


async def test_what_was_claimed_before_a_crash_of_the_server_is_not_forgotten(store: Store, store_url: str) -> None:
    """The crash may have undone its publication."""
    (row,) = await store.submit([SUBMISSION])
    async with eyes(store_url) as connection:
        # As the server itself does after a crash (https://www.postgresql.org/docs/current/monitoring-stats.html).
        await connection.execute("select pg_stat_reset_shared('bgwriter')")
    await store.published([row.outbox_id], lease_seconds=SUBMISSION.lease_seconds)
    assert await count(store_url, "outbox") == 1
    async with eyes(store_url) as connection:
        await connection.execute("update outbox set claimed_until = now()")
    assert len(await store.claim_outbox("b", limit=9, lease_seconds=60)) == 1
    await store.published([row.outbox_id], lease_seconds=60)
    assert await count(store_url, "outbox") == 0


async def test_what_has_its_result_need_not_leave(store: Store, store_url: str) -> None:
    done, open_one = await store.submit([ABANDONED] * 2)
    await store.fold([event(task_id=done.task_id)])
    ids = [done.outbox_id, open_one.outbox_id]
    assert [row.outbox_id for row in await store.claim_outbox("b", limit=1, lease_seconds=0)] == ids[1:]
    assert await count(store_url, "outbox") == 1
    await store.fold([event(task_id=open_one.task_id)])
    assert await store.claim_outbox("b", limit=1, lease_seconds=0) == []
    assert await count(store_url, "outbox") == 0


async def test_what_a_closed_graph_has_left_does_not_leave(store: Store, store_url: str) -> None:
    ended, going = await owned(store, 2)
    await store.dispatch([dispatch(ended), dispatch(going)])
    await store.finish([Finish(task_id=ended.task_id, epoch=ended.epoch, state=TaskState.FAILED, summary="{}")])
    assert [row.task_id for row in await store.claim_outbox("b", limit=9, lease_seconds=0)] == [going.task_id]
    assert await count(store_url, "outbox") == 1


async def test_a_retry_leaves_though_the_attempt_before_failed(store: Store) -> None:
    (task,) = await owned(store)
    (first,) = await store.dispatch([dispatch(task)])
    await store.published([first or 0], lease_seconds=0)
    await store.fold([event(task_id=task.task_id, outcome="failed")])
    (second,) = await store.dispatch([dispatch(task, attempt=2)])
    assert [row.outbox_id for row in await store.claim_outbox("b", limit=9, lease_seconds=0)] == [second]
