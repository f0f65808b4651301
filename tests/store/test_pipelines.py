from __future__ import annotations

import asyncio

import pytest

from core.errors import ModelInUse, NotFound, StoreError
from store import Store


async def test_pipelines_are_kept_by_name(store: Store) -> None:
    await store.put_pipeline("two", '{"stages": 2}', ["a", "b"])
    await store.put_pipeline("one", '{"stages": 1}', ["c"])
    assert [(row.name, row.description) for row in await store.pipelines()] == [
        ("one", '{"stages": 1}'),
        ("two", '{"stages": 2}'),
    ]


async def test_a_change_frees_the_models_that_it_leaves_out(store: Store) -> None:
    await store.put_pipeline("two", "first", ["a", "b"])
    await store.put_pipeline("two", "second", ["b", "c"])
    await store.put_pipeline("other", "", ["a"])
    with pytest.raises(ModelInUse, match="'c' is a stage of the pipeline 'two'"):
        await store.put_pipeline("other", "", ["a", "c"])
    assert [row.description for row in await store.pipelines()] == ["", "second"]


async def test_a_refused_change_changes_nothing(store: Store) -> None:
    await store.put_pipeline("two", "first", ["a"])
    await store.put_pipeline("other", "kept", ["b"])
    with pytest.raises(ModelInUse):
        await store.put_pipeline("other", "changed", ["a", "c"])
    await store.put_pipeline("third", "", ["c"])
    assert [row.description for row in await store.pipelines()] == ["kept", "", "first"]


async def test_of_two_at_once_that_want_the_same_model_one_gets_it(store: Store) -> None:
    puts = [store.put_pipeline(f"p{number}", "", ["a"]) for number in range(8)]
    outcomes = await asyncio.gather(*puts, return_exceptions=True)
    assert sum(outcome is None for outcome in outcomes) == 1
    assert all(isinstance(outcome, StoreError) for outcome in outcomes if outcome is not None)
    assert len(await store.pipelines()) == 1


async def test_a_dropped_pipeline_frees_its_models(store: Store) -> None:
    await store.put_pipeline("two", "", ["a"])
    await store.drop_pipeline("two")
    await store.put_pipeline("other", "", ["a"])
    with pytest.raises(NotFound):
        await store.drop_pipeline("two")
