"""The ready nodes of one model, in the order in which they leave."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Collection

from policy.fair import STALE, FairShares
from policy.order import Offer, Order, Rank, rank

# Without shares all are one user.
EVERYBODY = 0


class _Task:
    """A task's ready nodes: the longest first, then as they came."""

    __slots__ = ("nodes", "offer", "rank")

    def __init__(self, offer: Offer, rank: Rank) -> None:
        self.offer = offer
        self.rank = rank
        self.nodes: list[tuple[float, int, str]] = []


class _Backlog:
    """A user's tasks by rank. An entry of the heap is true if it is its task's rank now."""

    __slots__ = ("heap", "tasks", "user")

    def __init__(self, user: int) -> None:
        self.user = user
        self.heap: list[Rank] = []
        self.tasks: dict[int, _Task] = {}

    def place(self, offer: Offer, order: Order) -> _Task:
        """The task, new or moved."""
        place = rank(order, offer)
        task = self.tasks.get(offer.task)
        if task is None:
            task = self.tasks[offer.task] = _Task(offer, place)
        task.offer = offer
        if task.rank == place and task.nodes:
            return task
        task.rank = place
        heapq.heappush(self.heap, place)
        if len(self.heap) > 2 * len(self.tasks) + STALE:
            self._rebuild()
        return task

    def reorder(self, order: Order) -> None:
        """Puts all in another order."""
        for task in self.tasks.values():
            task.rank = rank(order, task.offer)
        self._rebuild()

    def first(self) -> int:
        """The task that is next."""
        while (task := self.tasks.get(self.heap[0][-1])) is None or task.rank != self.heap[0]:
            heapq.heappop(self.heap)
        return self.heap[0][-1]

    def _rebuild(self) -> None:
        self.heap = [each.rank for each in self.tasks.values()]
        heapq.heapify(self.heap)


class Line:
    """Ready nodes of one model. With `shares` the user that has had least goes first, and what it has is ordered by
    rank; without, all is ordered by rank.

    Whoever takes a node charges its user before the next is taken (see `FairShares`). Every operation is O(log n),
    amortised.
    """

    def __init__(self, order: Order, shares: FairShares | None) -> None:
        self._order = order
        self._apart = shares is not None
        self._shares = shares or FairShares()
        self._backlogs: dict[int, _Backlog] = {}
        self._where: dict[int, _Backlog] = {}
        self._numbers = itertools.count()
        self._length = 0

    def __len__(self) -> int:
        return self._length

    def tasks(self) -> Collection[int]:
        """Those that have nodes here."""
        return self._where.keys()

    def push(self, offer: Offer, node: str, length: float) -> None:
        """A node of the task is ready. `length`: seconds from its start to the end of the task, as expected."""
        backlog = self._backlog(offer.user if self._apart else EVERYBODY)
        self._where[offer.task] = backlog
        task = backlog.place(offer, self._order)
        heapq.heappush(task.nodes, (-length, next(self._numbers), node))
        self._length += 1

    def update(self, offer: Offer) -> None:
        """The task's figures have changed; nothing, if it has no nodes here."""
        if offer.task in self._where:
            self._where[offer.task].place(offer, self._order)

    def reorder(self, order: Order) -> None:
        """From now on by `order`: O(n) if it is another than before."""
        if order != self._order:
            self._order = order
            for backlog in self._backlogs.values():
                backlog.reorder(order)

    def pop(self) -> tuple[int, str] | None:
        """Takes the next: the number of its task, and its name."""
        user = self._shares.take()
        if user is None:
            return None
        backlog = self._backlogs[user]
        number = backlog.first()
        nodes = backlog.tasks[number].nodes
        node = heapq.heappop(nodes)[-1]
        self._length -= 1
        if not nodes:
            self.drop(number)
        return number, node

    def drop(self, task: int) -> list[str]:
        """Forgets the task's nodes, and tells their names; none, if it has none here."""
        backlog = self._where.pop(task, None)
        if backlog is None:
            return []
        nodes = backlog.tasks.pop(task).nodes
        self._length -= len(nodes)
        if not backlog.tasks:
            del self._backlogs[backlog.user]
            self._shares.leave(backlog.user)
        return [node[-1] for node in nodes]

    def _backlog(self, user: int) -> _Backlog:
        backlog = self._backlogs.get(user)
        if backlog is None:
            backlog = self._backlogs[user] = _Backlog(user)
            self._shares.arrive(user)
        return backlog
