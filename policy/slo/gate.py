"""One stage's frontend: a line in the policy's order, and what is dropped there."""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable
from typing import NamedTuple

from policy.fair import STALE
from policy.line import Line
from policy.order import Offer, Order
from policy.slo.pipeline import PolicyName
from policy.slo.rules import POLICIES
from policy.slo.sight import Sight

# A node: the number of its task, and its name.
Node = tuple[int, str]


class Taken(NamedTuple):
    """What leaves the gate, in order; and what was dropped at its turn."""

    send: list[Node]
    dropped: list[Node]


class Gate:
    """The ready nodes of one stage. Users' shares and priorities are as in any `Line`.

    What is held has left the line: it goes, the last first, when the line is empty and the workers have less in hand
    than their batches hold. Every operation is O(log n) for each node, amortised; but a change of the order, which is
    rare, is O(n).
    """

    def __init__(self, policy: PolicyName, line: Line) -> None:
        """`line`: an empty one; from now on the gate says what its order is."""
        self.policy = POLICIES[policy]
        self._line = line
        self._deadlines: dict[int, float | None] = {}
        self._due: list[tuple[float, int]] = []
        self._held: dict[int, list[str]] = {}
        self._order: Order = "fcfs"

    def __len__(self) -> int:
        return len(self._line) + len(self._held)

    def push(self, offer: Offer, node: str, length: float) -> None:
        """A node of the task is ready (see `Line.push`). All nodes of a task have its deadline."""
        self._line.push(offer, node, length)
        task, deadline = offer.task, offer.deadline
        if deadline is not None and task not in self._deadlines:
            heapq.heappush(self._due, (deadline, task))
            if len(self._due) > 2 * len(self._deadlines) + STALE:
                self._due = [each for each in self._due if self._deadlines.get(each[1]) == each[0]]
                self._due.append((deadline, task))
                heapq.heapify(self._due)
        self._deadlines[task] = deadline

    def update(self, offer: Offer) -> None:
        """The task's work or priority has changed."""
        self._line.update(offer)

    def drop(self, task: int) -> list[str]:
        """Forgets the task's nodes, and tells their names; none, if it has none here."""
        self._deadlines.pop(task, None)
        return self._held.pop(task, []) + self._line.drop(task)

    def take(self, room: int, sight: Sight, charge: Callable[[int], None]) -> Taken:
        """Those whose turn it is, at most `room` to send. `charge` is called with the task of each of these, to
        charge its user before the next is chosen (see `Line`).
        """
        sight = sight._replace(waiting=len(self))
        self._reorder(sight)
        taken, late = Taken([], []), self.policy.late_before(sight)
        while len(taken.send) < room and (node := self._line.pop()) is not None:
            self._judge(node, late, sight, taken, charge)
        idle = sight.workers * sight.size - sight.outstanding
        while len(taken.send) < min(room, idle) and self._held:
            self._release(sight, taken, charge)
        return taken

    def prune(self, sight: Sight) -> list[Node]:
        """Takes out what has no hope, wherever it waits."""
        gone: list[Node] = []
        while self._earliest() < self.policy.hopeless_before(sight._replace(waiting=len(self))):
            task = heapq.heappop(self._due)[1]
            gone += [(task, name) for name in self.drop(task)]
        return gone

    def _reorder(self, sight: Sight) -> None:
        self._order = self.policy.order(sight, self._earliest(), self._order)
        self._line.reorder(self._order)

    def _earliest(self) -> float:
        """The first deadline of all that wait; infinite if none has one."""
        while self._due and self._deadlines.get(self._due[0][1]) != self._due[0][0]:
            heapq.heappop(self._due)
        return self._due[0][0] if self._due else math.inf

    def _judge(self, node: Node, late: float, sight: Sight, taken: Taken, charge: Callable[[int], None]) -> None:
        task, name = node
        deadline = self._deadlines[task]
        if deadline is None or deadline >= late:
            self._send(node, taken, charge)
        elif self.policy.holds and deadline >= self.policy.hopeless_before(sight):
            self._held.setdefault(task, []).append(name)
            return
        else:
            taken.dropped.append(node)
        self._forget(task)

    def _release(self, sight: Sight, taken: Taken, charge: Callable[[int], None]) -> None:
        task, names = self._held.popitem()
        deadline = self._deadlines[task]
        if deadline is not None and deadline < self.policy.hopeless_before(sight):
            taken.dropped.extend((task, name) for name in names)
        else:
            for name in names:
                self._send((task, name), taken, charge)
        self._forget(task)

    def _send(self, node: Node, taken: Taken, charge: Callable[[int], None]) -> None:
        charge(node[0])
        taken.send.append(node)

    def _forget(self, task: int) -> None:
        if task not in self._line.tasks() and task not in self._held:
            del self._deadlines[task]
