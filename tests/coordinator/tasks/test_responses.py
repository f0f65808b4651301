"""Responses from memory and from the store."""

from __future__ import annotations

from coordinator.tasks.responses import Responses
from store import Store


async def test_what_is_not_kept_comes_from_the_store(store: Store) -> None:
    known = await store.store_document("response", "from the store")
    responses = Responses(store)
    responses.keep({known + 1: "just folded"})
    found = await responses.of([known, known + 1, known + 2])
    assert found == {known: "from the store", known + 1: "just folded"}


async def test_the_oldest_make_room_and_are_in_the_store(store: Store) -> None:
    number = await store.store_document("response", "kept in the store")
    responses = Responses(store, most=10)
    responses.keep({number: "in memory"})
    responses.keep({number + 1: "x" * 8})
    assert await responses.of([number]) == {number: "kept in the store"}
    assert await responses.of([number + 1]) == {number + 1: "x" * 8}
