"""Group commit: many callers, one statement or one send."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


class Batcher(Generic[Item, Result]):
    """Hands what callers submit to `flush`, as many at once as have gathered.

    A lone item is flushed at once: nothing waits for company. While `in_flight` flushes run, items gather
    and leave together in the next one, so throughput rises with load and latency stays that of a flush.

    With `linger`, a flush waits that many seconds for company: for what nobody waits for.

    `flush` gets at most `max_size` items and returns one result for each, in order. Its exception goes to every
    caller of that batch.
    """

    def __init__(
        self,
        flush: Callable[[list[Item]], Awaitable[Sequence[Result]]],
        *,
        max_size: int = 500,
        in_flight: int = 1,
        linger: float = 0.0,
    ) -> None:
        self._flush = flush
        self._linger = linger
        self._max_size = max_size
        self._free = in_flight
        self._beginning = False
        self._waiting: list[tuple[Item, asyncio.Future[Result]]] = []
        self._running: set[asyncio.Task[None]] = set()

    async def submit(self, item: Item) -> Result:
        """Returns `flush`'s result for this item. Cancelling the caller does not take the item back."""
        future: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, future))
        self._start()
        return await future

    async def drain(self) -> None:
        """Returns when everything submitted so far has been flushed."""
        while self._running:
            await asyncio.wait(self._running)

    def _start(self) -> None:
        # The batch of a flush is taken when it begins: what comes until then needs no second one.
        if self._free and self._waiting and not self._beginning:
            self._beginning = True
            self._free -= 1
            task = asyncio.create_task(self._run())
            self._running.add(task)
            task.add_done_callback(self._running.discard)

    async def _run(self) -> None:
        if self._linger:
            await asyncio.sleep(self._linger)
        # The batch is taken here, one turn of the loop after `submit`: callers of the same turn leave together.
        batch, self._waiting = self._waiting[: self._max_size], self._waiting[self._max_size :]
        self._beginning = False
        self._start()
        try:
            results = await self._flush([item for item, _ in batch])
            settle = [(future, result) for (_, future), result in zip(batch, results, strict=True)]
        except BaseException as error:
            for _, future in batch:
                if not future.done():
                    future.set_exception(error)
            if not isinstance(error, Exception):
                raise
        else:
            for future, result in settle:
                if not future.done():
                    future.set_result(result)
        finally:
            self._free += 1
            self._start()
