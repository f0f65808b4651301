from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from core.errors import StoreUnavailable
from store import Answer, Epoch, Folded, FoldOutcome, Store
from tests.store.helpers import SUBMISSION, barrier, count, event, eyes, outcomes, owned, waiting

FOLDED, DUPLICATE, LATE, STALE, UNKNOWN_TASK, LEDGER_ONLY = FoldOutcome
OLD, NEW = Epoch(1, 9), Epoch(2, 0)


# What is folded first, then the event that is judged, its outcome, and the result that stands.
GOLDEN: dict[str, tuple[list[dict[str, Any]], dict[str, Any], FoldOutcome, str | None]] = {
    "the first result is kept": ([], {}, FOLDED, "new"),
    "whatever epoch it left under": ([], {"epoch": Epoch(0, 0)}, FOLDED, "new"),
    "an event counts once": ([{"event_id": "e"}], {"event_id": "e"}, DUPLICATE, "0"),
    "once, though the epoch be newer": ([{"event_id": "e"}], {"event_id": "e", "epoch": NEW}, DUPLICATE, "0"),
    "a second attempt is late": ([{}], {}, LATE, "0"),
    "an older epoch is stale": ([{"epoch": NEW}], {}, STALE, "0"),
    "a newer epoch replaces": ([{}], {"epoch": NEW}, FOLDED, "new"),
    "region before proxy": ([{"epoch": NEW}], {"epoch": Epoch(1, 99)}, STALE, "0"),
    "a retried attempt settles nothing": ([], {"final": False}, LEDGER_ONLY, None),
    "nor does one of no task": ([], {"task_id": None, "node_id": None}, LEDGER_ONLY, None),
    "an unknown task": ([], {"task_id": 10**9}, UNKNOWN_TASK, None),
    "a task that cannot be": ([], {"task_id": 2**70}, UNKNOWN_TASK, None),
    "another node has its own": ([{"node_id": "m"}], {}, FOLDED, "new"),
}


@pytest.mark.parametrize("case", GOLDEN)
async def test_golden_outcomes(store: Store, store_url: str, case: str) -> None:
    before, judged, outcome, standing = GOLDEN[case]
    task_id = await store.create_task(1, "chat", "{}")
    for place, changes in enumerate(before):
        await outcomes(
            store, [event(**{"task_id": task_id, "epoch": OLD, "result": f'{{"at": "{place}"}}'} | changes)]
        )
    last = event(**{"task_id": task_id, "epoch": OLD, "result": '{"at": "new"}'} | judged)
    assert await outcomes(store, [last]) == [outcome]
    results = {row.node_id: json.loads(row.result)["at"] for row in await store.get_progress_list(task_id)}
    assert results.get("n") == standing
    assert await count(store_url, "ledger") == len(before) + (outcome is not DUPLICATE)


async def task_of(store: Store) -> int:
    return (await store.submit([SUBMISSION]))[0].task_id


async def test_a_response_is_a_document_that_the_result_names(store: Store) -> None:
    task_id = await task_of(store)
    assert await store.answers([task_id]) == {}
    await outcomes(store, [event(task_id=task_id, result=' { "status" : 200}', response='{"choices": []}')])
    (row,) = await store.get_progress_list(task_id)
    result = json.loads(row.result)
    assert await store.get_document(result["document"]) == '{"choices": []}'
    assert result == {"document": result["document"], "status": 200}
    assert await store.answers([task_id, 10**9]) == {task_id: Answer(row.result, '{"choices": []}')}


@pytest.mark.parametrize("result", ["{}", " { } "])
async def test_an_empty_result_can_name_its_response(store: Store, result: str) -> None:
    task_id = await task_of(store)
    await outcomes(store, [event(task_id=task_id, result=result, response="[]")])
    (row,) = await store.get_progress_list(task_id)
    assert list(json.loads(row.result)) == ["document"]


async def test_a_refused_response_is_not_kept(store: Store, store_url: str) -> None:
    task_id = await store.create_task(1, "chat", "{}")
    answers = [event(task_id=task_id, response=f"[{n}]") for n in range(3)]
    assert await outcomes(store, answers[:2]) == [FOLDED, LATE]
    assert await outcomes(store, answers[2:]) == [LATE]
    assert await count(store_url, "documents") == 1
    assert (await store.answers([task_id]))[task_id].response == "[0]"


async def test_two_events_of_a_node_and_one_twice_fold_in_one_batch(store: Store) -> None:
    task_id = await task_of(store)
    old, new, other = (event(task_id=task_id, epoch=epoch) for epoch in (OLD, NEW, NEW))
    assert await outcomes(store, [old, new, other, new, old]) == [STALE, FOLDED, LATE, DUPLICATE, DUPLICATE]


async def test_a_deleted_task_still_leaves_its_ledger(store: Store, store_url: str) -> None:
    task_id = await task_of(store)
    await store.delete_task(task_id)
    late = event(task_id=task_id)
    assert await outcomes(store, [late]) == [UNKNOWN_TASK]
    assert await outcomes(store, [late]) == [DUPLICATE]
    assert await count(store_url, "ledger") == 1


async def test_an_attempt_that_reached_no_provider_costs_nothing(store: Store, store_url: str) -> None:
    task_id = await task_of(store)
    assert await outcomes(store, [event(task_id=task_id, reached_provider=False)]) == [FOLDED]
    assert await count(store_url, "ledger") == 0


async def test_the_ledger_holds_what_the_event_said(store: Store, store_url: str) -> None:
    told = event(
        task_id=5, cached_tokens=1, reasoning_tokens=2, estimated=True, ai_model_name="m", ai_model_namespace="ns"
    )
    await outcomes(store, [told])
    async with eyes(store_url) as connection:
        row = await connection.fetchrow("select * from ledger")
    for name in set(Folded.__struct_fields__) & set(row.keys()) - {"started_at", "finished_at"}:
        assert row[name] == getattr(told, name), name
    assert [row[name].timestamp() for name in ("started_at", "finished_at")] == [told.started_at, told.finished_at]


async def test_an_event_that_postgres_cannot_hold_does_not_hold_up_the_others(store: Store) -> None:
    task_id = await task_of(store)
    odd = event(
        event_id="e\0", request_id="\ud800", node_id="\0", model="\0", task_id=task_id, epoch=Epoch(-1, 2**80),
        result='{"\0": 1}', response="\ud800", status=2**40, total_tokens=2**70, prompt_tokens=-1,
        started_at=float("nan"), finished_at=1e300,
    )  # fmt: skip
    assert await outcomes(store, [odd, event(task_id=task_id)]) == [FOLDED, FOLDED]
    assert await outcomes(store, [odd, event(task_id=task_id, node_id="\0")]) == [DUPLICATE, STALE]


async def test_concurrent_folds_of_the_same_events_fold_each_once(store: Store, store_url: str) -> None:
    task_ids = [each.task_id for each in await store.submit([SUBMISSION] * 50)]
    events = [event(task_id=task_id, response="[]") for task_id in task_ids]
    folds = [outcomes(store, events[start:] + events[:start]) for start in range(0, 50, 7)]
    told = [outcome for fold in await asyncio.gather(*folds) for outcome in fold]
    assert (told.count(FOLDED), told.count(DUPLICATE)) == (50, len(told) - 50)
    tables = {table: await count(store_url, table) for table in ("inbox", "ledger", "progress", "documents")}
    assert tables == {"inbox": 50, "ledger": 50, "progress": 50, "documents": 100}


async def test_concurrent_attempts_at_a_node_leave_one_result(store: Store, store_url: str) -> None:
    task_id = await task_of(store)
    attempts = [event(task_id=task_id, response=f"[{n}]", request_id="r") for n in range(30)]
    told = await asyncio.gather(*(outcomes(store, [attempt]) for attempt in attempts))
    assert sorted(told, key=str) == [[FOLDED]] + [[LATE]] * 29
    won = attempts[told.index([FOLDED])]
    assert (await store.answers([task_id]))[task_id].response == won.response
    async with eyes(store_url) as connection:
        rows = await connection.fetch("select event_id, total_tokens from request_price where request_id = 'r'")
    assert [tuple(row) for row in rows] == [(won.event_id, won.total_tokens)]


async def test_a_connection_lost_in_mid_fold_leaves_nothing_and_the_fold_can_be_repeated(
    store: Store, store_url: str
) -> None:
    attempt = event(task_id=await task_of(store), response="[]")
    async with barrier(store_url, "ledger") as connection:
        fold = asyncio.create_task(outcomes(store, [attempt]))
        pid = await waiting(connection)
        await connection.execute("select pg_terminate_backend($1, 10000)", pid)
        with pytest.raises(StoreUnavailable):
            await fold
    assert [await count(store_url, table) for table in ("inbox", "ledger", "progress")] == [0, 0, 0]
    assert await outcomes(store, [attempt]) == [FOLDED]


async def price(url: str, request_id: str) -> list[tuple[str, int]]:
    async with eyes(url) as connection:
        query = "select event_id, total_tokens from request_price where request_id = $1"
        return [tuple(row) for row in await connection.fetch(query, request_id)]


async def test_a_request_costs_what_the_attempt_that_won_did(store: Store, store_url: str) -> None:
    task_id = await task_of(store)
    attempts = [
        event(event_id="retried", task_id=task_id, request_id="r", final=False, outcome="retried", total_tokens=1),
        event(event_id="won", task_id=task_id, request_id="r", total_tokens=2),
        event(event_id="late", task_id=task_id, request_id="r", total_tokens=4),
    ]
    await outcomes(store, attempts[:1])
    assert await price(store_url, "r") == []
    await outcomes(store, attempts[1:])
    assert await price(store_url, "r") == [("won", 2)]
    await outcomes(store, [event(event_id="newer", task_id=task_id, request_id="r", epoch=NEW, total_tokens=8)])
    assert await price(store_url, "r") == [("newer", 8)]


async def test_a_request_of_no_task_costs_its_first_completed_attempt(store: Store, store_url: str) -> None:
    failed = event(event_id="failed", request_id="r", outcome="failed", total_tokens=1, finished_at=1.0)
    again = event(event_id="again", request_id="r", total_tokens=4, finished_at=3.0)
    first = event(event_id="first", request_id="r", total_tokens=2, finished_at=2.0)
    await outcomes(store, [failed, again, first])
    assert await price(store_url, "r") == [("first", 2)]


async def test_an_owners_newer_result_has_no_attempt_and_no_response(store: Store, store_url: str) -> None:
    task_id = await task_of(store)
    await outcomes(store, [event(event_id="first", task_id=task_id, request_id="r", response="[]", total_tokens=2)])
    await store.save_progress(task_id, "n", "{}", global_epoch=1)
    assert await store.answers([task_id]) == {task_id: Answer("{}", None)}
    assert await price(store_url, "r") == [("first", 2)]


async def test_a_fate_says_whether_an_owner_waits_for_it_and_where_the_response_is(store: Store) -> None:
    chat = await task_of(store)
    (task,) = await owned(store)
    first = event(task_id=task.task_id, response="[]")
    events = [
        event(task_id=chat, response="[]"),
        first,
        event(task_id=task.task_id, response="[]"),
        event(task_id=task.task_id, node_id="m"),
        event(task_id=task.task_id, final=False),
        event(),
        first,
    ]
    fates = await store.fold(events)
    assert [fate.outcome for fate in fates] == [FOLDED, FOLDED, LATE, FOLDED, LEDGER_ONLY, LEDGER_ONLY, DUPLICATE]
    assert [fate.graph for fate in fates] == [False, True, True, True, True, False, False]
    documents = [fate.document for fate in fates]
    assert await store.responses([number for number in documents if number]) == dict.fromkeys(documents[:2], "[]")
    assert documents[2:] == [None] * 5
