"""Who waits for which answer. Plain objects on one event loop: no locks, no I/O.

A waiter is registered before its request is committed, so no answer can come before there is somebody to take it.
"""

from __future__ import annotations

import asyncio
import contextlib
import enum
from collections.abc import Iterator

from bus.messages import ReplyFrame
from store import Answer


class Ending(enum.Enum):
    """Why nothing more will come."""

    GONE = "the client has left"
    EXPIRED = "the answer took too long"
    STOPPING = "the gateway is stopping"
    UNAVAILABLE = "no worker of the model can serve"


class Interrupted(Exception):
    """Frames were lost, or another attempt began after a part of this one had been passed on."""


Event = ReplyFrame | Answer | Ending


class Waiter:
    """One request's events, in order: frames of one attempt, or the answer from the store, or an ending.

    `passed_on`: the client has a part of the answer. `expects_store`: the answer was too large for frames.
    """

    def __init__(self, request_id: str, model: str, registered_at: float) -> None:
        self.request_id = request_id
        self.model = model
        self.registered_at = registered_at
        self.task_id: int | None = None
        self.passed_on = False
        self.expects_store = False
        self.found_before = False
        self._events: asyncio.Queue[Event] = asyncio.Queue()
        self._event_id: str | None = None
        self._superseded: set[str | None] = set()
        self._next_seq = 0

    def put(self, event: Event) -> None:
        """Adds an event."""
        self._events.put_nowait(event)

    async def next(self) -> Event:
        """The next event. Raises `Interrupted` where frames do not continue what was passed on.

        A new attempt before anything was passed on replaces the old one; late frames of an old one are dropped.
        """
        while True:
            event = await self._events.get()
            if not isinstance(event, ReplyFrame) or self._continues(event):
                return event

    def _continues(self, frame: ReplyFrame) -> bool:
        if frame.event_id in self._superseded:
            return False
        if frame.event_id != self._event_id:
            if self.passed_on:
                raise Interrupted
            self._superseded.add(self._event_id)
            self._event_id, self._next_seq = frame.event_id, 0
        if frame.seq > self._next_seq:
            if self.passed_on:
                raise Interrupted
            return False  # its beginning was lost: the answer comes from the store
        if frame.seq < self._next_seq:
            return False
        self._next_seq += 1
        return True


class Waiters:
    """All of one gateway's waiters, by request and by task."""

    def __init__(self) -> None:
        self._by_request: dict[str, Waiter] = {}
        self._by_task: dict[int, Waiter] = {}

    def __len__(self) -> int:
        return len(self._by_request)

    def __iter__(self) -> Iterator[Waiter]:
        return iter(list(self._by_request.values()))

    @contextlib.contextmanager
    def register(self, request_id: str, model: str, now: float) -> Iterator[Waiter]:
        """A waiter that is known until the block ends."""
        waiter = Waiter(request_id, model, now)
        self._by_request[request_id] = waiter
        try:
            yield waiter
        finally:
            del self._by_request[request_id]
            if waiter.task_id is not None:
                del self._by_task[waiter.task_id]

    def bind(self, waiter: Waiter, task_id: int) -> None:
        """The request has been committed as this task."""
        waiter.task_id = task_id
        self._by_task[task_id] = waiter

    def take_frame(self, frame: ReplyFrame) -> None:
        """Hands a frame to its waiter; one that nobody waits for any more is dropped."""
        if waiter := self._by_request.get(frame.request_id):
            waiter.put(frame)

    def take_folded(self, task_id: int, answer: Answer) -> None:
        """An answer was folded here. It is needed only where it was too large for frames: those come first."""
        waiter = self._by_task.get(task_id)
        if waiter is not None and waiter.expects_store:
            waiter.put(answer)

    def take_found(self, task_id: int, answer: Answer) -> None:
        """An answer was found in the store. One found twice is handed over: its frames have had the time between
        two looks to come, so they are lost, or were sent to a coordinator that is gone.
        """
        waiter = self._by_task.get(task_id)
        if waiter is None:
            return
        if waiter.found_before or waiter.expects_store:
            waiter.put(answer)
        waiter.found_before = True

    def tasks_waiting_since(self, moment: float) -> list[int]:
        """Tasks whose waiters were registered at `moment` or before."""
        return [task_id for task_id, waiter in self._by_task.items() if waiter.registered_at <= moment]

    def end_all(self, ending: Ending, model: str | None = None) -> None:
        """Tells everybody, or all who wait for one model, that nothing more will come."""
        for waiter in self:
            if model in (None, waiter.model):
                waiter.put(ending)
