"""A piece of work for the backend, and those whom it answers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import replace
from typing import TypeAlias

from workernode.backends.base import Answer, Call, Sink
from workernode.classify import Upstream
from workernode.errors import CallFailed

Outcome: TypeAlias = Answer | Exception


class Member:
    """One call on its way through a batch.

    `begin` is called when it begins. `unit`: what it is part of, from then on. `likeness`: see
    `workernode.backends.base.Joint`. `came`: monotonic seconds.
    """

    __slots__ = ("answer", "begin", "call", "came", "likeness", "sink", "unit")

    def __init__(self, call: Call, sink: Sink | None, begin: Callable[[], None], likeness: Hashable | None) -> None:
        self.call = call
        self.sink = sink
        self.begin = begin
        self.came = time.monotonic()
        self.answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self.unit: Unit | None = None
        self.likeness = likeness

    @property
    def joint(self) -> bool:
        """Whether it can be answered together with others."""
        return self.likeness is not None

    def hear(self, outcome: Outcome) -> None:
        """It is over."""
        if self.answer.done():
            return
        if isinstance(outcome, Exception):
            self.answer.set_exception(outcome)
            self.answer.exception()  # nobody may be there any more to ask for it
        else:
            self.answer.set_result(outcome)

    def bill(self) -> None:
        """Nobody wants the answer, but it has been paid for."""
        if self.answer.exception() is None:
            usage = self.answer.result().usage
            self.call.progress.usage = lambda: usage


class Unit:
    """Members that one piece of work answers; a single one where it is not `joint`.

    `ends_at`: monotonic seconds, as expected.
    """

    __slots__ = ("_left", "ends_at", "joint", "members", "task")

    def __init__(self, members: Sequence[Member], *, joint: bool) -> None:
        self.members = members
        self.joint = joint
        self.ends_at = 0.0
        self.task: asyncio.Task[None] | None = None
        self._left = 0
        for member in members:
            member.unit = self

    async def left_by(self, member: Member) -> None:
        """One needs it no more; with the last one it ends."""
        self._left += 1
        if self._left == len(self.members) and self.task is not None and not self.task.done():
            self.task.cancel()
            await asyncio.wait([self.task])

    def over(self, task: asyncio.Task[None]) -> None:
        """Its task has ended: if by a mistake of ours, nobody waits for ever."""
        if not task.cancelled() and isinstance(error := task.exception(), Exception):
            for member in self.members:
                member.hear(error)

    def failed(self, error: Exception) -> Sequence[Outcome]:
        """What each of the members hears. That the upstream failed was seen once, not as often as they are many."""
        if not isinstance(error, CallFailed):
            return [error] * len(self.members)
        verdict = replace(error.verdict, upstream=Upstream.NOTHING)
        others = [CallFailed(verdict, reached_provider=error.reached_provider, usage=error.usage)]
        return [error, *others * (len(self.members) - 1)]


def grouped(members: Iterable[Member]) -> Sequence[Unit]:
    """Those that are alike together, the others each alone."""
    alike: dict[Hashable, list[Member]] = {}
    for member in members:
        alike.setdefault(member.likeness if member.joint else member, []).append(member)
    return [Unit(group, joint=group[0].joint) for group in alike.values()]
