"""Where new tasks are taken in: durable at the commit, and carried on here where there is room."""

from __future__ import annotations

import time
from dataclasses import dataclass

from coordinator.metrics import SUBMITTED
from coordinator.tasks import refusals
from coordinator.tasks.board import Board
from coordinator.tasks.dispatcher import Dispatcher
from coordinator.tasks.ownership import Ownership
from coordinator.tasks.submission import Submission, fresh_row, owned_task
from core.batcher import Batcher
from store import Accepted, NewTask, Store, TaskRow


@dataclass(frozen=True, slots=True)
class Taken:
    """`row`: of a task that is new; None where its key was used for the same request before."""

    task_id: int
    row: TaskRow | None


class Entry:
    """One coordinator's."""

    def __init__(self, store: Store, board: Board, dispatcher: Dispatcher, ownership: Ownership) -> None:
        self._board = board
        self._dispatcher = dispatcher
        self._ownership = ownership
        self._submit: Batcher[NewTask, Accepted] = Batcher(store.submit_tasks, max_size=200, in_flight=2)

    async def take(self, submission: Submission, key: str | None) -> Taken:
        """Takes a task in. `key`: its Idempotency-Key. Raises `RequestRefused` where that was used for another
        request, `StoreUnavailable`.
        """
        owner = self._ownership.name if self._board.room() else None
        new = submission.new_task(key, owner, self._ownership.region, time.time())
        accepted = await self._submit.submit(new)
        if not accepted.same:
            raise refusals.key_reused()
        if not accepted.fresh:
            return Taken(accepted.task_id, None)
        SUBMITTED.inc()
        if owner is not None:
            self._dispatcher.own(owner, owned_task(new, accepted), submission.graph)
        return Taken(accepted.task_id, fresh_row(new, accepted))
