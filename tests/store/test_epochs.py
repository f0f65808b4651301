from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import Awaitable, Callable

import pytest

from core.errors import StaleEpoch
from store import Epoch, FoldOutcome, Store
from tests.store.helpers import event, outcomes

EPOCHS = [Epoch(*pair) for pair in itertools.product(range(6), range(6))]
Write = Callable[[Epoch], Awaitable[None]]


def text(epoch: Epoch) -> str:
    return f'{{"by": [{epoch.global_epoch}, {epoch.regional_epoch}]}}'


async def race(write: Write) -> set[Epoch]:
    """All epochs write at once, several times each. Those that were not refused."""

    async def one(epoch: Epoch) -> Epoch | None:
        try:
            await write(epoch)
        except StaleEpoch:
            return None
        return epoch

    writers = random.sample(EPOCHS * 3, len(EPOCHS) * 3)
    return {epoch for epoch in await asyncio.gather(*map(one, writers)) if epoch}


async def test_of_concurrent_descriptions_the_newest_stays(store: Store) -> None:
    task_id = await store.create_task(1, "chat", text(EPOCHS[0]))

    async def write(epoch: Epoch) -> None:
        await store.update_task_description(task_id, epoch.global_epoch, epoch.regional_epoch, text(epoch))

    assert EPOCHS[-1] in await race(write)
    assert await store.get_task_description(task_id) == text(EPOCHS[-1])


async def test_of_concurrent_progress_the_newest_stays_on_every_node(store: Store) -> None:
    task_id = await store.create_task(1, "chat", "{}")

    async def write(epoch: Epoch) -> None:
        pair = {"global_epoch": epoch.global_epoch, "regional_epoch": epoch.regional_epoch}
        for node in ("a", "b"):
            await store.save_progress(task_id, node, text(epoch), **pair)

    accepted = await race(write)
    assert EPOCHS[-1] in accepted
    newest = (EPOCHS[-1].global_epoch, EPOCHS[-1].regional_epoch, text(EPOCHS[-1]))
    assert [row[2:] for row in await store.get_progress_list(task_id)] == [newest, newest]


async def test_of_concurrent_folds_and_owners_the_newest_stays_whole(store: Store) -> None:
    task_id = await store.create_task(1, "chat", "{}")

    async def write(epoch: Epoch) -> None:
        if epoch.regional_epoch % 2:
            pair = {"global_epoch": epoch.global_epoch, "regional_epoch": epoch.regional_epoch}
            await store.save_progress(task_id, "n", text(epoch), **pair)
            return
        (outcome,) = await outcomes(store, [event(task_id=task_id, epoch=epoch, result=text(epoch))])
        if outcome is FoldOutcome.STALE:
            raise StaleEpoch

    await race(write)
    row = await store.get_progress(task_id, "n")
    assert row == (task_id, "n", EPOCHS[-1].global_epoch, EPOCHS[-1].regional_epoch, text(EPOCHS[-1]))


@pytest.mark.parametrize("rounds", range(3))
async def test_a_deletion_among_writers_ends_without_a_row_or_a_deadlock(store: Store, rounds: int) -> None:
    task_ids = [await store.create_task(1, "chat", "{}") for _ in range(20)]
    folds = [outcomes(store, [event(task_id=task_id) for task_id in random.sample(task_ids, 20)]) for _ in range(4)]
    deletions = [store.delete_task(task_id) for task_id in random.sample(task_ids, 20)]
    told = await asyncio.gather(*folds, *deletions)
    assert {outcome for fold in told[:4] for outcome in fold or ()} <= {
        FoldOutcome.FOLDED,
        FoldOutcome.LATE,
        FoldOutcome.UNKNOWN_TASK,
    }
    assert [await store.get_progress_list(task_id) for task_id in task_ids] == [[]] * 20
