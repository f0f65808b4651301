from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import NotFound, StoreError
from store import EventRow, Finish, Store, TaskState, UserRow
from store.cursor import Place, decode, encode, ends
from tests.store.helpers import dispatch, event, eyes, graph, owned

texts = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))
places = st.builds(Place, st.integers(0, 2**64 - 1), st.sampled_from(["running", "settled", "ended"]), texts)


@given(places)
def test_a_place_survives_a_line_of_server_sent_events(place: Place) -> None:
    assert decode(encode(place)) == place
    assert encode(place).isascii()
    assert not set(encode(place)) & set(" \r\n\0\"'")
    assert ends(encode(place)) == (place.kind == "ended")


@given(st.text())
def test_any_text_is_a_place_or_is_not_found(text: str) -> None:
    try:
        place = decode(text)
    except NotFound:
        return
    assert encode(place) == text


@pytest.mark.parametrize(
    "cursor", ["", "x", "-1.running.n", "1", "1.running", f"{2**64}.ended.", "1.running.%00", "²"]
)
async def test_an_unreadable_cursor_is_not_found(store: Store, cursor: str) -> None:
    (task,) = await owned(store)
    with pytest.raises(NotFound):
        await store.events_after(task.task_id, cursor, 10)


def told(events: list[EventRow]) -> list[tuple[str, str]]:
    return [(each.kind, each.node_id) for each in events]


async def test_events_are_told_in_the_order_in_which_they_happened(store: Store) -> None:
    (task,) = await owned(store)
    await store.dispatch([dispatch(task, node_id=node) for node in ("b[1]", "a")])
    await store.fold([event(task_id=task.task_id, node_id="b[1]", result='{"at": 1}')])
    await store.dispatch([dispatch(task, node_id="c")])
    await store.settle_node(task.task_id, task.epoch, "d", '{"at": 2}')
    await store.finish([Finish(task_id=task.task_id, epoch=task.epoch, state=TaskState.FAILED, summary="{}")])
    events = await store.events_after(task.task_id, None, 100)
    happened = [("running", "a"), ("running", "b[1]"), ("settled", "b[1]"), ("running", "c"), ("settled", "d")]
    assert told(events) == [*happened, ("ended", "")]
    assert [each.result for each in events] == [None, None, '{"at": 1}', None, '{"at": 2}', "failed"]
    for place, each in enumerate(events):
        assert await store.events_after(task.task_id, each.cursor, 100) == events[place + 1 :]
    assert await store.events_after(task.task_id, events[1].cursor, 2) == events[2:4]
    assert [each.at for each in events] == sorted(each.at for each in events)


async def test_a_later_attempt_is_told_again(store: Store) -> None:
    (task,) = await owned(store)
    await store.dispatch([dispatch(task)])
    await store.fold([event(task_id=task.task_id, outcome="failed")])
    seen = await store.events_after(task.task_id, None, 100)
    await store.dispatch([dispatch(task, attempt=2)])
    assert told(await store.events_after(task.task_id, seen[-1].cursor, 100)) == [("running", "n")]
    await store.fold([event(task_id=task.task_id)])
    assert told(await store.events_after(task.task_id, seen[-1].cursor, 100)) == [("running", "n"), ("settled", "n")]


async def test_what_commits_late_is_told_after_what_waited_for_it(store: Store, store_url: str) -> None:
    """A transaction that began first and commits last: whoever has read past it would miss it."""
    (task,) = await owned(store)
    async with eyes(store_url) as slow:
        transaction = slow.transaction()
        await transaction.start()
        await slow.execute(
            "insert into progress (task_id, node_id, global_epoch, regional_epoch, result) "
            "values ($1, 'slow', 0, 0, '{}')",
            task.task_id,
        )
        await store.fold([event(task_id=task.task_id, node_id="quick")])
        assert await store.events_after(task.task_id, None, 9) == []
        await transaction.commit()
    assert told(await store.events_after(task.task_id, None, 9)) == [("settled", "slow"), ("settled", "quick")]


async def test_a_reader_misses_nothing_while_folds_commit_in_any_order(store: Store) -> None:
    (task,) = await owned(store)
    nodes = [str(n) for n in range(150)]
    await store.dispatch([dispatch(task, node_id=node) for node in nodes])
    read: list[EventRow] = []

    async def follow() -> None:
        while len(read) < 2 * len(nodes):
            read.extend(await store.events_after(task.task_id, read[-1].cursor if read else None, 7))

    folds = [
        store.fold([event(task_id=task.task_id, node_id=node) for node in nodes[start : start + 3]])
        for start in range(0, len(nodes), 3)
    ]
    async with asyncio.timeout(60):
        await asyncio.gather(follow(), *folds)
    assert sorted(told(read)) == sorted([(kind, node) for kind in ("running", "settled") for node in nodes])


async def test_an_event_of_another_graph_is_not_told(store: Store) -> None:
    first, second = await owned(store, 2)
    await store.dispatch([dispatch(first)])
    assert await store.events_after(second.task_id, None, 9) == []
    assert await store.events_after(10**9, None, 9) == []


async def test_graphs_are_listed_newest_first_by_user_and_state_and_in_pages(store: Store) -> None:
    ids = [each.task_id for each in await store.submit_tasks([graph(user="uv"[n % 2]) for n in range(6)])]
    await store.cancel(ids[2])
    await store.create_task(0, "chat.completion", "{}")

    async def listed(**query: object) -> list[int]:
        return [ids.index(row.task_id) for row in await store.tasks(**query)]  # type: ignore[arg-type]

    assert await listed() == [5, 4, 3, 2, 1, 0]
    assert await listed(limit=2) == [5, 4]
    assert await listed(limit=2, before=ids[4]) == [3, 2]
    assert await listed(user="u") == [4, 2, 0]
    assert await listed(user="u", state=TaskState.OPEN) == [4, 0]
    assert await listed(state=TaskState.CANCELLED) == [2]
    assert await listed(state=TaskState.FAILED) == await listed(user="nobody") == []


async def test_a_graph_is_running_once_a_node_was_dispatched(store: Store) -> None:
    (task,) = await owned(store)
    assert not (await store.task(task.task_id)).running
    await store.dispatch([dispatch(task)])
    assert (await store.task(task.task_id)).running


async def test_nodes_are_told_in_flight_and_settled(store: Store) -> None:
    first, second = await owned(store, 2)
    await store.dispatch([dispatch(first, node_id="a"), dispatch(first, node_id="b"), dispatch(second, node_id="a")])
    await store.fold([event(task_id=first.task_id, node_id="b", result='{"b": 1}')])
    rows = {(row.task_id, row.node_id): row.result for row in await store.nodes_of([first.task_id, second.task_id])}
    assert rows == {
        (first.task_id, "a"): None,
        (first.task_id, "b"): '{"b": 1}',
        (second.task_id, "a"): None,
    }
    settled = await store.settled_among([(first.task_id, "a"), (first.task_id, "b"), (first.task_id, "none")])
    assert [(row.node_id, row.result, row.attempt) for row in settled] == [("b", '{"b": 1}', 1)]
    assert await store.settled_among([]) == await store.nodes_of([]) == []


async def test_responses_are_read_by_their_numbers(store: Store) -> None:
    (task,) = await owned(store)
    (fate,) = await store.fold([event(task_id=task.task_id, response='{"choices": []}')])
    assert fate.document is not None
    assert await store.responses([fate.document, 10**9]) == {fate.document: '{"choices": []}'}


async def test_a_users_weight_counts_for_what_is_owned_from_then_on(store: Store) -> None:
    await owned(store, user="u")
    await store.set_weight("u", 2.5)
    await store.set_weight("new", 0.5)
    assert await store.users() == [UserRow("", 1.0), UserRow("new", 0.5), UserRow("u", 2.5)]
    assert [task.weight for task in await owned(store, user="u")] == [2.5]
    for weight in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(StoreError):
            await store.set_weight("u", weight)
