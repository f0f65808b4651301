from __future__ import annotations

import pytest

from core.errors import NotFound, StaleEpoch, StoreError
from store import Epoch, Store
from tests.store.helpers import SUBMISSION, count


async def test_a_document_is_kept_until_it_is_deleted(store: Store) -> None:
    doc_id = await store.store_document("request", "äöü \U0001f600")
    assert await store.get_document(doc_id) == "äöü \U0001f600"
    await store.delete_document(doc_id)
    await store.delete_document(doc_id)
    with pytest.raises(NotFound, match=f"document {doc_id}"):
        await store.get_document(doc_id)


async def test_a_task_is_kept_until_it_is_deleted(store: Store) -> None:
    task_id = await store.create_task(7, "chat", '{"nodes": []}')
    assert await store.get_task(task_id) == (7, "chat", '{"nodes": []}')
    await store.update_task_type(task_id, "batch")
    assert await store.get_task(task_id) == (7, "batch", '{"nodes": []}')
    assert await store.get_task_description(task_id) == '{"nodes": []}'
    await store.delete_task(task_id)
    await store.delete_task(task_id)
    with pytest.raises(NotFound, match=f"task {task_id}"):
        await store.get_task(task_id)
    with pytest.raises(NotFound):
        await store.update_task_type(task_id, "batch")


async def test_progress_is_kept_for_each_node(store: Store) -> None:
    task_id = await store.create_task(1, "chat", "{}")
    await store.save_progress(task_id, "b", "[2]")
    await store.save_progress(task_id, "a", "[1]", global_epoch=1, regional_epoch=2)
    assert await store.get_progress(task_id, "a") == (task_id, "a", 1, 2, "[1]")
    assert await store.get_progress_list(task_id) == [(task_id, "a", 1, 2, "[1]"), (task_id, "b", 0, 0, "[2]")]
    await store.delete_progress(task_id, "a")
    await store.delete_progress(task_id, "a")
    with pytest.raises(NotFound, match="'a'"):
        await store.get_progress(task_id, "a")


async def test_progress_needs_a_task(store: Store) -> None:
    assert await store.get_progress_list(1) == []
    with pytest.raises(NotFound, match="task 1"):
        await store.save_progress(1, "a", "{}")


async def test_a_new_task_has_the_epoch_that_its_owner_gave(store: Store) -> None:
    task_id = await store.create_task(1, "chat", "{}", epoch=Epoch(3, 1))
    with pytest.raises(StaleEpoch, match="global_epoch=3"):
        await store.update_task_description(task_id, 2, 9, '{"late": true}')
    await store.update_task_description(task_id, 4, 0, '{"new": true}')
    assert await store.get_task_description(task_id) == '{"new": true}'


async def test_a_larger_region_beats_a_larger_proxy(store: Store) -> None:
    """The seed's comparison, taken literally, lets (1, 9) replace (2, 3)."""
    task_id = await store.create_task(1, "chat", "{}")
    await store.save_progress(task_id, "a", "[2]", global_epoch=2, regional_epoch=3)
    with pytest.raises(StaleEpoch):
        await store.save_progress(task_id, "a", "[1]", global_epoch=1, regional_epoch=9)
    assert (await store.get_progress(task_id, "a")).result == "[2]"


async def test_the_same_write_again_changes_nothing_and_another_is_refused(store: Store) -> None:
    task_id = await store.create_task(1, "chat", "{}")
    for _ in range(2):
        await store.save_progress(task_id, "a", "[1]", global_epoch=1)
        await store.update_task_description(task_id, 1, 0, "[1]")
    with pytest.raises(StaleEpoch):
        await store.save_progress(task_id, "a", "[2]", global_epoch=1)
    with pytest.raises(StaleEpoch):
        await store.update_task_description(task_id, 1, 0, "[2]")
    assert (await store.get_progress(task_id, "a")).result == await store.get_task_description(task_id) == "[1]"


async def test_a_deleted_task_takes_all_that_was_its_own(store: Store, store_url: str) -> None:
    (kept,) = await store.submit([SUBMISSION])
    (gone,) = await store.submit([SUBMISSION])
    await store.save_progress(gone.task_id, "n", "{}")
    await store.delete_task(gone.task_id)
    assert [await count(store_url, table) for table in ("tasks", "documents", "outbox", "progress")] == [1, 1, 1, 0]
    assert await store.get_document(kept.doc_id) == SUBMISSION.body


@pytest.mark.parametrize("content", ["secret \0", "secret \ud800"])
async def test_what_postgres_cannot_hold_is_refused_without_quoting_it(store: Store, content: str) -> None:
    with pytest.raises(StoreError) as caught:
        await store.store_document("request", content)
    assert "secret" not in str(caught.value)
    assert type(caught.value) is StoreError
    assert caught.value.__suppress_context__


async def test_models_are_remembered(store: Store) -> None:
    await store.saw_models([("mock", "mock"), ("gpt", "remote"), ("mock", "mock")])
    (_, first) = before = await store.known_models()
    await store.saw_models([("mock", "local")])
    await store.saw_models([])
    (gpt, mock) = await store.known_models()
    assert (gpt, mock.name, mock.node_type) == (before[0], "mock", "local")
    assert mock.first_seen == first.first_seen
    assert mock.last_seen > first.last_seen
