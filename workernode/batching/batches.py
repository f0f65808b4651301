"""Between `Calls` and the backend of a node that batches: requests wait until they are served together.

    call ─► Former ─ plan ─┬─► begin ─► one piece of work for those that are alike ─► each its answer
                           └─► dropped: it cannot be served in time any more

Calls that a backend answers jointly run as one batch after another. Others take slots, as many as a batch has, and
each ends by itself: a slot is filled anew as soon as it is free.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence

from bus.messages import BatchOrder, BatchUse
from policy.slo.forming import Former
from workernode.backends.base import Answer, Backend, Call, Sink
from workernode.batching.learned import Learned
from workernode.batching.tally import Tally
from workernode.batching.unit import Member, Outcome, Unit, grouped
from workernode.errors import Dropped, NotNow
from workernode.metrics import BATCH_SECONDS, BATCH_SIZE, BATCH_WAIT, DROPS

# So long before the running batch is expected to end the next one is taken: it is there when the backend is free.
EARLY_SECONDS = 0.1


class Batches:
    """One node's. `on`: whether it batches. `moved` hears that `room` may have changed; `cancelled` tells whether
    nobody wants the answer to a request any more.
    """

    def __init__(
        self,
        backend: Backend,
        order: BatchOrder,
        moved: Callable[[], None] = lambda: None,
        cancelled: Callable[[str], bool] = lambda request_id: False,
    ) -> None:
        self.on = order.size > 1
        self._backend = backend
        self._moved = moved
        self._cancelled = cancelled
        self._order = order
        self._learned = Learned(order.seconds)
        self._profile = self._learned.profile(self.size)
        self._former: Former[Member] = Former(order.policy, self._profile, self.size)
        self._waiting: set[Member] = set()
        self._units: set[Unit] = set()
        self._tally = Tally()
        self._leaving = False
        self._looks_next = False
        self._next_look: asyncio.TimerHandle | None = None
        self._next_taking: asyncio.TimerHandle | None = None

    @property
    def size(self) -> int:
        """The most in one batch."""
        return min(self._order.size, self._backend.slots)

    @property
    def queued(self) -> int:
        """Requests that wait."""
        return len(self._waiting)

    def order(self, order: BatchOrder) -> bool:
        """From now on batches are like this; whether that is news."""
        if self.on and order == self._order:
            return False
        if order.seconds != self._order.seconds:
            self._learned = Learned(order.seconds)
        self.on, self._order = True, order
        self._profile = self._learned.profile(self.size)
        self._look_soon()
        self._moved()
        return True

    def room(self) -> int:
        """How many requests may wait here now: a batch, while the backend is free or soon will be."""
        if self._leaving:
            return 0
        ends_at = max((unit.ends_at for unit in self._units if unit.joint), default=0.0)
        return self._free() if not ends_at else self.size if time.monotonic() >= ends_at - EARLY_SECONDS else 0

    def use(self) -> BatchUse | None:
        """What was done since the last time; None of one that does not batch."""
        return self._tally.taken(self.size, self.queued) if self.on else None

    def leave(self) -> None:
        """The node leaves: what waits is given back, and what comes."""
        self._leaving = True
        for member in list(self._waiting):
            self._take_out(member)
            member.hear(NotNow("the node leaves"))

    async def call(self, call: Call, sink: Sink | None, serve_by: float | None, begin: Callable[[], None]) -> Answer:
        """The answer, once its batch has been served. `begin` is called when it begins. `serve_by`: Unix seconds.

        Raises what `Backend.call` and `begin` raise, `NotNow`, and `Dropped` where it cannot be served in time.
        Whoever is cancelled while others are answered by the same work waits for its end: then it is known what it
        has cost.
        """
        if self._leaving:
            raise NotNow("the node leaves")
        joint = self._backend.joint
        member = Member(call, sink, begin, None if joint is None else joint.likeness(call))
        self._waiting.add(member)
        self._former.add(member, serve_by)
        self._look_soon()
        try:
            return await asyncio.shield(member.answer)
        except asyncio.CancelledError:
            if member.unit is not None and len(member.unit.members) > 1 and self._cancelled(call.request_id):
                await asyncio.wait([member.answer])
                member.bill()
            raise
        finally:
            self._take_out(member)
            if member.unit is not None:
                await member.unit.left_by(member)

    def _take_out(self, member: Member) -> None:
        if member in self._waiting:
            self._waiting.remove(member)
            self._former.remove(member)

    def _free(self) -> int:
        """How many may begin now."""
        if any(unit.joint for unit in self._units):
            return 0
        return max(0, self.size - len(self._units))

    def _look_soon(self, seconds: float = 0.0) -> None:
        """Those that come together are planned together."""
        if self._looks_next:
            return
        if self._next_look is not None:
            self._next_look.cancel()
            self._next_look = None
        if seconds > 0:
            self._next_look = asyncio.get_running_loop().call_later(seconds, self._look)
        else:
            self._looks_next = True
            asyncio.get_running_loop().call_soon(self._look)

    def _look(self) -> None:
        self._looks_next, self._next_look = False, None
        try:
            self._form()
        except Exception as error:  # noqa: BLE001 - a mistake of ours: whoever waits hears of it
            for member in list(self._waiting):
                self._take_out(member)
                member.hear(error)

    def _form(self) -> None:
        free = self._free()
        if not self._waiting or not free:
            return
        if not any(member.joint for member in self._waiting):
            free = min(free, len(self._waiting))  # a slot has nothing to wait for
        self._former.order(self._order.policy, self._profile, free)
        now = time.time()
        formed = self._former.plan(now)
        self._drop(formed.drop)
        if formed.start:
            self._start(formed.start)
        elif formed.again_at is not None:
            self._look_soon(max(0.001, formed.again_at - now))

    def _drop(self, members: Iterable[Member]) -> None:
        for member in members:
            self._waiting.discard(member)
            DROPS.inc()
            member.hear(Dropped("it cannot be served in time any more"))

    def _start(self, members: Sequence[Member]) -> None:
        begun = [member for member in members if self._begins(member)]
        now = time.monotonic()
        waits = [now - member.came for member in begun]
        self._tally.began(waits)
        for wait in waits:
            BATCH_WAIT.observe(wait)
        units = grouped(begun)
        self._units.update(units)
        for unit in units:
            self._run(unit, now)
        if not begun:
            self._look_soon()
        self._moved()

    def _begins(self, member: Member) -> bool:
        self._waiting.discard(member)
        try:
            member.begin()
        except Exception as error:  # noqa: BLE001 - whoever waits hears of it
            member.hear(error)
            return False
        return True

    def _run(self, unit: Unit, now: float) -> None:
        """Slots are shared by all that run in them."""
        size = len(unit.members) if unit.joint else len(self._units)
        for member in unit.members:
            member.call.progress.batch_size = size
        unit.ends_at = now + self._profile.seconds(min(size, self._profile.largest))
        unit.task = asyncio.create_task(self._serve(unit, size), name="batch")
        unit.task.add_done_callback(unit.over)
        if unit.joint:
            self._take_at(unit.ends_at - EARLY_SECONDS - now)
        BATCH_SIZE.observe(size)

    def _take_at(self, seconds: float) -> None:
        if self._next_taking is not None:
            self._next_taking.cancel()
        self._next_taking = asyncio.get_running_loop().call_later(max(0.0, seconds), self._moved)

    async def _serve(self, unit: Unit, size: int) -> None:
        began = time.monotonic()
        try:
            outcomes = await self._outcomes(unit)
            self._served(size, time.monotonic() - began)
        except Exception as error:  # noqa: BLE001 - whoever waits hears of it
            outcomes = unit.failed(error)
        finally:
            self._units.discard(unit)
            self._look_soon()
            self._moved()
        for member, outcome in zip(unit.members, outcomes, strict=True):
            member.hear(outcome)

    async def _outcomes(self, unit: Unit) -> Sequence[Outcome]:
        joint = self._backend.joint
        if unit.joint and joint is not None:
            return await joint.call_many([(member.call, member.sink) for member in unit.members])
        (member,) = unit.members
        return [await self._backend.call(member.call, member.sink)]

    def _served(self, size: int, seconds: float) -> None:
        BATCH_SECONDS.observe(seconds)
        self._tally.ended(seconds)
        if self._learned.saw(size, seconds):
            self._profile = self._learned.profile(self.size)
