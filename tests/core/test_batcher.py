from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from core.batcher import Batcher


class Recorder:
    """A flush that records its batches and can be held back."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.flushing = asyncio.Event()

    async def __call__(self, items: list[int]) -> Sequence[int]:
        self.batches.append(items)
        self.flushing.set()
        await self.gate.wait()
        if 13 in items:
            raise ValueError("13")
        return [item * 2 for item in items]


async def test_a_lone_item_is_flushed_at_once() -> None:
    assert await Batcher(Recorder()).submit(4) == 8


async def test_items_of_one_turn_leave_together() -> None:
    flush = Recorder()
    batcher = Batcher(flush)
    assert await asyncio.gather(*map(batcher.submit, range(5))) == [0, 2, 4, 6, 8]
    assert flush.batches == [[0, 1, 2, 3, 4]]


async def test_no_flush_is_empty_although_several_may_run_at_once() -> None:
    flush = Recorder()
    batcher = Batcher(flush, max_size=2, in_flight=4)
    assert await asyncio.gather(*map(batcher.submit, range(5))) == [0, 2, 4, 6, 8]
    assert flush.batches == [[0, 1], [2, 3], [4]]


async def test_items_gather_while_a_flush_runs_and_batches_are_bounded() -> None:
    flush = Recorder()
    batcher = Batcher(flush, max_size=3)
    flush.gate.clear()
    first = asyncio.create_task(batcher.submit(0))
    await flush.flushing.wait()
    rest = [asyncio.create_task(batcher.submit(n)) for n in range(1, 6)]
    await asyncio.sleep(0)
    flush.gate.set()
    await asyncio.gather(first, *rest)
    assert flush.batches == [[0], [1, 2, 3], [4, 5]]


async def test_an_error_goes_to_its_batch_alone() -> None:
    batcher = Batcher(Recorder(), max_size=2)
    results = await asyncio.gather(*map(batcher.submit, [1, 13, 2, 3]), return_exceptions=True)
    assert [type(result) for result in results] == [ValueError, ValueError, int, int]


async def test_a_cancelled_caller_does_not_disturb_the_others() -> None:
    flush = Recorder()
    batcher = Batcher(flush)
    flush.gate.clear()
    gone, stays = (asyncio.create_task(batcher.submit(n)) for n in (1, 2))
    await flush.flushing.wait()
    gone.cancel()
    flush.gate.set()
    assert await stays == 4
    with pytest.raises(asyncio.CancelledError):
        await gone


async def test_drain_waits_for_what_was_submitted() -> None:
    flush = Recorder()
    batcher = Batcher(flush)
    submitted = asyncio.create_task(batcher.submit(1))
    await asyncio.sleep(0)
    await batcher.drain()
    assert submitted.done() or flush.batches == [[1]]
    await submitted
